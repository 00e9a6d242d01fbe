"""Errors between us and tmux. Every message is a single line that the user can act on."""

from __future__ import annotations

from collections.abc import Sequence


class TmuxError(Exception):
    """tmux refused a command. ``replies`` holds the answers to the commands before it in the same group."""

    def __init__(self, message: str, replies: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.replies = tuple(replies)


class TmuxMissing(TmuxError):  # noqa: N818 - named for what happened
    """There is no tmux on the PATH."""


class TmuxTooOld(TmuxError):  # noqa: N818 - named for what happened
    """The installed tmux is too old."""


class SessionTaken(TmuxError):  # noqa: N818 - named for what happened
    """A session with our name exists but is not ours; it is never touched."""


class CannotSpawn(TmuxError):  # noqa: N818 - named for what happened
    """The run cannot be started, which was found before tmux was asked."""


class TmuxGone(TmuxError):  # noqa: N818 - named for what happened
    """The tmux server, our session or our connection to them has ended."""


class TmuxSilent(TmuxError):  # noqa: N818 - named for what happened
    """The tmux server does not answer; it is not known whether the session or window exists."""
