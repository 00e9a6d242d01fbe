"""Choosing the tmux server, and how to run a tmux command against it."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Overrides the `[tmux] socket` of the file; the tests use it to stay away from the user's server.
SOCKET_VARIABLE = "PANEVIEW_TMUX_SOCKET"
# Set by tmux for what runs inside it; they must not lead our clients to another server. And the marker of a task that
# we were started from: a server that begins with it passes it on to the user's own windows, which would end with it.
_INSIDE = ("TMUX", "TMUX_PANE", "PANEVIEW_RUN")


def tmux_argv(socket: str | None, *arguments: str) -> list[str]:
    """The command line for one tmux command; ``socket`` is a path, a name, or None for the user's own server.

    PANEVIEW_TMUX_SOCKET takes precedence. ``-u``, because tmux would otherwise replace non-ASCII characters in
    some locales.
    """
    chosen = os.environ.get(SOCKET_VARIABLE) or socket
    if not chosen:
        return ["tmux", "-u", *arguments]
    return ["tmux", "-u", "-S" if "/" in chosen else "-L", chosen, *arguments]


def socket_source(socket: str | None) -> str:
    """What determines the socket, as the end of a sentence."""
    if os.environ.get(SOCKET_VARIABLE):
        return f"{SOCKET_VARIABLE} names"
    return "[tmux] socket in the file names" if socket else "is tmux's own choice (TMUX_TMPDIR moves it)"


def exactly(path: str) -> tuple[str, str]:
    """First ``arguments`` for `tmux_argv` that select the server at this socket, whatever `tmux_argv` chooses.

    For a pane whose server is known. tmux uses the last socket it is given.
    """
    return ("-S", path)


def tmux_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a tmux client, as if it were started outside tmux and paneview."""
    return {key: value for key, value in environ.items() if key not in _INSIDE}
