"""The errors between a client and its supervisor.

Imports nothing, because the command line's fast path loads it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_SOME = 3  # replicas that a message names


class ControlError(Exception):
    """A request was refused or failed: one line for people, a code for programs, and further keys of the reply.

    Codes in use: ``bad_request`` (the request itself is wrong), ``unknown_request``, ``not_found`` (no such
    task), ``config`` (the configuration file is wrong), ``failed``, ``state`` (not in its present state), ``queue``
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
        """The error that a reply with ``"ok": false`` reports."""
        known = ("id", "ok", "error", "code", "message")
        extra = {key: value for key, value in reply.items() if key not in known}
        return cls(str(reply.get("error", "the request failed")), str(reply.get("code", "failed")), **extra)


class UnknownTask(ControlError):  # noqa: N818 - what it is
    """A name that is no task of this project, or stands for several replicas where one is meant.

    Its hint is the one of those ``known`` that is like it.
    """

    def __init__(self, name: str, known: Iterable[str] = (), replicas: Sequence[str] = ()) -> None:
        from difflib import get_close_matches  # noqa: PLC0415 - only on the way out

        message, close = f"Task {name!r} not found in config", get_close_matches(name, list(known), 1)
        if replicas:
            some = ", ".join(replicas[:_SOME]) + (", …" if len(replicas) > _SOME else "")
            message, close = f"Task {name!r} has replicas: name one of them ({some})", []
        hint = {"hint": f"did you mean {close[0]!r}?"} if close else {}
        result = {"ok": False, "error_code": "E200", "error": message, "task": name}
        super().__init__(message, "not_found", error_code="E200", results=[result], **hint)


class NoSupervisor(Exception):  # noqa: N818 - a state of the world, not a fault
    """No supervisor runs for this project: there is no control socket, or nothing listens on it."""


class Disconnected(ControlError):  # noqa: N818 - as NoSupervisor
    """The connection ended before the reply came. The supervisor may or may not have carried out the request."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "disconnected")
