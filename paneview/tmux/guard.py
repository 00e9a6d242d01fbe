"""The shell that is each pane's process: it runs the task's command and writes its exit code to a file.

tmux tells exit codes too, but not after its own death, and tmux up to 3.5 as distributions build it swallows SIGCHLD.
So there is a code for every run but those whose guard was itself killed. Two shells share the work:

* The *leader* of the terminal's session is what tmux knows. It survives what the user types (Ctrl-C, Ctrl-\\) and the
  signals of a stop, but not a hang-up: only when the leader dies of it does the kernel pass it on to the task.
* The *keeper*, a fork of it, survives the hang-up as well, and writes the code when the task has ended.

Signals are trapped with ``:`` and not ignored, since the task would inherit the latter. What these shells themselves
have to say ("Killed") is hidden, by moving the task's standard error to the third descriptor, and back for the task.

**The last lines.** tmux closes a terminal when it hears that its process has died and sees nothing to read. But what
was written may still be on its way inside the kernel: of 300 runs of `seq 1 2000` on a busy machine 3 lost their end.
So the leader lets go of the terminal and stays. Then tmux reads to the very end, closes it, and this very closing is a
hang-up for the leader, who now may go. Only where something in the background keeps the terminal does that not happen,
and the leader goes after a third of a second.

A simple command replaces the shell that reads it. dash would stay in between, die of a SIGTERM while the program still
closes its files (with it goes the terminal's session, and a hang-up cuts the program short), and tell 130 for a program
that was interrupted and ended well. For any other command that shell waits for the part that is running, and then
ends with its code.
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
# What the leader waits with for the terminal to close. A hang-up that comes between its fork and its exec leaves it to
# end by itself: it is the guard's, and nothing that a task left behind.
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
# A shell of its own for the command, so that what it says of itself (``$$``, ``$0``) is right; or, where nothing in
# the command asks, the keeper's own copy, which saves the start of a program.
_OWN_SHELL = f'{_BEFORE}exec "$0" -c "$3" sh "$1"{_AFTER}'
_SAME_SHELL = f'{_BEFORE}eval "$3"{_AFTER}'
# Before the first part there is no code yet that an interrupted shell could end with.
_PATIENT = (
    "trap 'exit 130' INT; trap 'exit 143' TERM; "
    """eval "trap 'exit \\"\\$?\\"' INT TERM; $1\""""
)
_OPERATORS = re.compile(r"[;&|\n`(){}]")
# A shell's number, name, parent, options or arguments, also in braces: the guard's would be wrong.
_OF_ITSELF = re.compile(r"\$\{?[#!]?([$0-9@*#-]|PPID|BASHPID)")
_PROGRAM = re.compile(r"\s*([A-Za-z0-9_./+-]+)(\s|$)")
# What a shell does itself, in any of them.
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
    """How a run ended. Death by signal N is code 128 + N, as a shell tells it, and also ``signal`` N."""

    code: int | None
    """None if nobody knows: the guard was killed and tmux was gone, too."""
    signal: int | None = None

    @classmethod
    def of_code(cls, code: int) -> ExitStatus:
        """A code as a shell gives it."""
        number = code - 128
        return cls(code, number if number in _SIGNALS else None)

    @classmethod
    def of_signal(cls, number: int) -> ExitStatus:
        """Death by a signal."""
        return cls(128 + number, number)


_SIGNALS = {int(number) for number in signal.valid_signals()}


def guard_argv(command: str, exit_file: Path) -> list[str]:
    """The argument list of a pane's process. ``command`` is the user's own shell command."""
    simple = _is_simple(command)
    guard = _OWN_SHELL if _OF_ITSELF.search(command) else _SAME_SHELL
    return [SHELL, "-c", guard, SHELL, command, str(exit_file), f"exec {command}" if simple else _PATIENT]


def is_shell(argv: Sequence[str]) -> bool:
    """Whether this is the command line of the shell that runs a command of several parts: it hears for none of them."""
    return list(argv[:3]) == [SHELL, "-c", _PATIENT]


def _is_simple(command: str) -> bool:
    """Whether this is for certain one program and its arguments; not a word of the shell's, no assignment."""
    first = _PROGRAM.match(command)
    if first is None or first[1] in _SHELL_WORDS:
        return False
    return not _OPERATORS.search(command)


def read_exit_file(path: Path) -> ExitStatus | None:
    """What the guard wrote; None as long as it has not (a line without its end counts as not)."""
    try:
        text = path.read_text("ascii", errors="replace")
    except FileNotFoundError:
        return None
    if not text.endswith("\n") or not text.strip().isdecimal():
        return None
    return ExitStatus.of_code(int(text))


def command_pid(guard: int) -> int | None:
    """The process of the command under a guard's shells, which people mean; None before the guard has started it."""
    table, pid = ProcessTable.recent(), guard
    for _ in range(_SHELLS):
        children = [row.pid for row in table.tree(pid) if row.ppid == pid]
        if len(children) != 1:
            return None
        (pid,) = children
    return pid
