"""The errors that end a command with a message. Imports nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

FAILED = 1
USAGE = 2  # bad usage or bad configuration
NO_SUPERVISOR = 3


class CliError(Exception):
    """The command failed: what is wrong and where, the exit status, and a hint at what to do about it."""

    def __init__(self, message: str, status: int = FAILED, hint: str | None = None, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint
        self.extra: dict[str, Any] = extra

    def to_json(self) -> dict[str, Any]:
        """The object printed with ``--json``."""
        hint = {"hint": self.hint} if self.hint else {}
        return {"ok": False, "error": self.message, **hint, **self.extra}


class UsageError(CliError):
    """The command line itself is wrong."""

    def __init__(self, message: str, hint: str | None = None, **extra: Any) -> None:
        super().__init__(message, USAGE, hint, **extra)


def unknown_task(name: str, known: Iterable[str], hint: str | None = None) -> CliError:
    """The error for an unknown task, in the supervisor's words.

    Without a `hint`, it suggests the one of the `known` names that is most like it.
    """
    from paneview.control.errors import UnknownTask  # noqa: PLC0415 - only needed for the error

    unknown = UnknownTask(name, known)
    extra = unknown.extra if hint is None else {**unknown.extra, "hint": hint}
    return CliError(unknown.message, code=unknown.code, **extra)
