"""What can go wrong between a client and its supervisor. Imports nothing.

The command line's fast path reads it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ControlError(Exception):
    """A request was refused or failed: one line for people, a code for programs, and further keys of the reply.

    Codes in use: ``bad_request`` (the request itself is wrong), ``unknown_request``, ``not_found`` (no such
    task), ``config`` (the configuration file is wrong), ``failed``, ``state`` (not in the state it is in), ``queue``
    (the queue cannot be reached), ``store`` (nothing can be recorded), ``too_large``, ``unauthorized`` (the
    WebSocket's token), ``going_down`` (nothing starts any more), ``closing`` (the supervisor is ending), ``internal``
    (a defect), and on the client's side ``disconnected``, ``cut`` and ``timeout``.
    """

    def __init__(self, message: str, code: str = "failed", **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.extra: dict[str, Any] = extra

    def to_json(self) -> dict[str, Any]:
        """The reply's keys, ``ok`` included."""
        return {"ok": False, "error": self.message, "code": self.code, **self.extra}

    @classmethod
    def from_json(cls, reply: dict[str, Any]) -> ControlError:
        """The error that a reply with ``"ok": false`` tells of."""
        known = ("id", "ok", "error", "code", "message")
        extra = {key: value for key, value in reply.items() if key not in known}
        return cls(str(reply.get("error", "the request failed")), str(reply.get("code", "failed")), **extra)


class NoSupervisor(Exception):  # noqa: N818 - a state of the world, not a fault
    """No supervisor runs for this project: there is no control socket, or nobody listens on it."""


class Disconnected(ControlError):  # noqa: N818 - as NoSupervisor
    """The connection ended before the reply came. The supervisor may or may not have done what was asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "disconnected")
