"""What can go wrong between us and tmux. Every message is one line for a person to act on."""

from __future__ import annotations

from collections.abc import Sequence


class TmuxError(Exception):
    """tmux refused a command. ``replies`` holds what the commands before it in the same group answered."""

    def __init__(self, message: str, replies: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.replies = tuple(replies)


class TmuxMissing(TmuxError):  # noqa: N818 - named for what happened
    """There is no tmux on the PATH."""


class TmuxTooOld(TmuxError):  # noqa: N818 - named for what happened
    """tmux is older than what we need."""


class SessionTaken(TmuxError):  # noqa: N818 - named for what happened
    """A session of our name exists and is not ours: it is never touched."""


class CannotSpawn(TmuxError):  # noqa: N818 - named for what happened
    """No run can be had of what was asked for, which was seen before tmux was told of it."""


class TmuxGone(TmuxError):  # noqa: N818 - named for what happened
    """The tmux server, our session or our connection to them has ended."""


class TmuxSilent(TmuxError):  # noqa: N818 - named for what happened
    """The tmux server does not answer: whether it has what was asked for is not known."""
