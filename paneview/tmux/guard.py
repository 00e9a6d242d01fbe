"""The shell that is each pane's process: it runs the task's command and writes its exit code to a file.

tmux reports exit codes, too, but not after its own death, and tmux up to 3.5, as built by distributions, swallows
SIGCHLD. With the guard, every run has a code unless the guard itself was killed. Two shells share the work:

* The *leader* of the terminal's session is the process tmux knows. It survives what the user types (Ctrl-C, Ctrl-\\)
  and the signals of a stop, but not a hang-up, which the kernel passes on to the task only when the leader dies of it.
* The *keeper*, a fork of the leader, survives the hang-up as well, and writes the code when the task has ended.

Signals are trapped with ``:`` rather than ignored, because the task would inherit the latter. These shells' own
messages ("Killed") are hidden by moving standard error to descriptor 3, and back for the task.

**The last lines.** tmux closes a terminal when it learns that its process has died and there is nothing to read. But
output may still be on its way inside the kernel: of 300 runs of `seq 1 2000` on a busy machine, 3 lost their end. So
the leader closes its side of the terminal and stays. Then tmux reads to the very end and closes the terminal, which is
a hang-up for the leader, and it exits. If something in the background keeps the terminal open, this does not happen,
and the leader exits after a third of a second.

A simple command replaces the shell that runs it. Otherwise dash would stay in between, die of a SIGTERM while the
program is still closing its files (the terminal's session ends with it, and the hang-up cuts the program short), and
report 130 for a program that was interrupted and ended well. For any other command, that shell waits for the part that
is running, and then exits with its code.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paneview.proc import ProcessTable

_SHELLS = 2  # between the pane's process and the command
SHELL = "/bin/sh"
# The program with which the leader waits for the terminal to close. If a hang-up comes between its fork and its exec,
# it is left to end by itself; it belongs to the guard, and is not a leftover of the task.
HELPER = ("sleep", "0.3")

_BEFORE = "trap : INT TERM QUIT; exec 3>&2 2>/dev/null; ( trap : INT TERM HUP QUIT; ( exec 2>&3 3>&-; "
_AFTER = (
    ' ); code=$?; echo "$code" >"$2"; exit "$code" ); '
    "code=$?; "
    'trap \'kill "$!"; exit "$code"\' HUP; '
    "exec <&- >&- 3>&-; "
    f'{" ".join(HELPER)} & wait "$!"; '
    'exit "$code"'
)
# Either a new shell for the command, so that ``$$``, ``$0`` and the like are right; or, if the command does not use
# them, a fork of the keeper, which saves starting a program.
_OWN_SHELL = f'{_BEFORE}exec "$0" -c "$3" sh "$1"{_AFTER}'
_SAME_SHELL = f'{_BEFORE}eval "$3"{_AFTER}'
# Before the first part has run, an interrupted shell has no code yet to exit with.
_PATIENT = (
    "trap 'exit 130' INT; trap 'exit 143' TERM; "
    """eval "trap 'exit \\"\\$?\\"' INT TERM; $1\""""
)
_OPERATORS = re.compile(r"[;&|\n`(){}]")
# A shell's pid, name, parent, options or arguments, also in braces: those of the guard would be wrong.
_OF_ITSELF = re.compile(r"\$\{?[#!]?([$0-9@*#-]|PPID|BASHPID)")
_PROGRAM = re.compile(r"\s*([A-Za-z0-9_./+-]+)(\s|$)")
# Words that any of the common shells handles itself.
_SHELL_WORDS = frozenset(
    """
    alias bg bind break builtin caller case cd command compgen complete compopt continue coproc declare dirs disown
    do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash help history if
    in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select set shift shopt
    source suspend test then time times trap true type typeset ulimit umask unalias unset until wait while .
    """.split()
)


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a run ended. Death by signal N has ``code`` 128 + N, as in a shell, and ``signal`` N."""

    code: int | None
    """None if unknown: the guard was killed and tmux was gone, too."""
    signal: int | None = None

    @classmethod
    def of_code(cls, code: int) -> ExitStatus:
        """The status for an exit code as a shell reports it."""
        number = code - 128
        return cls(code, number if number in _SIGNALS else None)

    @classmethod
    def of_signal(cls, number: int) -> ExitStatus:
        """The status for death by a signal."""
        return cls(128 + number, number)


_SIGNALS = {int(number) for number in signal.valid_signals()}


def guard_argv(command: str, exit_file: Path) -> list[str]:
    """The argument list of a pane's process. ``command`` is the user's own shell command."""
    simple = _is_simple(command)
    guard = _OWN_SHELL if _OF_ITSELF.search(command) else _SAME_SHELL
    return [SHELL, "-c", guard, SHELL, command, str(exit_file), f"exec {command}" if simple else _PATIENT]


def is_shell(argv: Sequence[str]) -> bool:
    """Whether this is the command line of the shell that runs a compound command, which is none of its programs."""
    return list(argv[:3]) == [SHELL, "-c", _PATIENT]


def _is_simple(command: str) -> bool:
    """Whether this is certainly one program with its arguments, not a shell word or an assignment."""
    first = _PROGRAM.match(command)
    if first is None or first[1] in _SHELL_WORDS:
        return False
    return not _OPERATORS.search(command)


def read_exit_file(path: Path) -> ExitStatus | None:
    """The status that the guard wrote; None as long as there is no complete line."""
    try:
        text = path.read_text("ascii", errors="replace")
    except FileNotFoundError:
        return None
    if not text.endswith("\n") or not text.strip().isdecimal():
        return None
    return ExitStatus.of_code(int(text))


def command_pid(guard: int) -> int | None:
    """The pid of the command under a guard's shells, which people expect to see; None before it has started."""
    table, pid = ProcessTable.recent(), guard
    for _ in range(_SHELLS):
        children = [row.pid for row in table.tree(pid) if row.ppid == pid]
        if len(children) != 1:
            return None
        (pid,) = children
    return pid
