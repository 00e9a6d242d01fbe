"""Which tmux server, and how to run one tmux command against it."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Overrides the `[tmux] socket` of the file; the tests use it to stay away from the user's server.
SOCKET_VARIABLE = "PANEVIEW_TMUX_SOCKET"
# Set by tmux for what runs inside it: nothing of ours may take another server's word for its own.
_INSIDE = ("TMUX", "TMUX_PANE")


def tmux_argv(socket: str | None, *arguments: str) -> list[str]:
    """The command line for one tmux command; ``socket`` is a path, a name, or None for the user's own server.

    ``-u``, since tmux would replace whatever is not ASCII where the locale says so, and
    PANEVIEW_TMUX_SOCKET wins.
    """
    chosen = os.environ.get(SOCKET_VARIABLE) or socket
    if not chosen:
        return ["tmux", "-u", *arguments]
    return ["tmux", "-u", "-S" if "/" in chosen else "-L", chosen, *arguments]


def socket_source(socket: str | None) -> str:
    """Who says which socket it is, as the end of a sentence."""
    if os.environ.get(SOCKET_VARIABLE):
        return f"{SOCKET_VARIABLE} names"
    return "[tmux] socket in the file names" if socket else "is tmux's own choice (TMUX_TMPDIR moves it)"


def exactly(path: str) -> tuple[str, str]:
    """First ``arguments`` for `tmux_argv` that lead to the server at this socket, whatever it has chosen: for a pane of
    which that server was noted. tmux takes the last socket that it is given.
    """
    return ("-S", path)


def tmux_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a tmux client: as if it were started outside tmux."""
    return {key: value for key, value in environ.items() if key not in _INSIDE}
