"""A visit to a task's window that a single key, ctrl+], ends.

It uses a key table of our own, only in our session and only during a visit: a copy of the user's keys plus this one,
which returns the client to the session it came from, or detaches it if it came from none.
"""

from __future__ import annotations

import contextlib

from paneview.tmux.errors import TmuxError
from paneview.tmux.launch import run_tmux
from paneview.tmux.quote import command

TABLE = "paneview"
KEY = "C-]"
HINT = "ctrl+] goes back to paneview"
_HINT_MS = 4000


def allow_return(socket: str | None, session_id: str) -> None:
    """Make ctrl+] end the visit to this session. Raises TmuxError."""
    target = f"{session_id}:"
    own = run_tmux(socket, "list-keys", "-T", "root").splitlines()
    script = [line.replace("-T root", f"-T {TABLE}", 1) for line in own if "-T root" in line]
    leave = command("if-shell", "-F", "#{client_last_session}", "switch-client -l", "detach-client")
    back = f"{command('set-option', '-u', '-t', target, 'key-table')} ; {leave}"
    script.append(command("bind-key", "-T", TABLE, KEY, back))
    script.append(command("set-option", "-t", target, "key-table", TABLE))
    run_tmux(socket, "source-file", "-", script="\n".join(script) + "\n")


def forget_return(socket: str | None, session_id: str) -> None:
    """Give the key back to the task."""
    with contextlib.suppress(TmuxError):  # the session may be gone
        run_tmux(socket, "set-option", "-u", "-t", f"{session_id}:", "key-table")


def with_hint(argv: list[str]) -> list[str]:
    """The command line of an attach or a switch, extended to show a hint about the key."""
    return [*argv, ";", "display-message", "-d", str(_HINT_MS), HINT]
