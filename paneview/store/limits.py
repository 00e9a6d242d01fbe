"""How much of a task's log is kept, and where it is also written as text."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class TextFile(Struct, frozen=True):
    """A plain, rotated copy of a task's log. Sizes in bytes."""

    path: Path
    max_size: int = 10_000_000
    max_files: int = 3
    owner: Path | None = None
    """The folder of the task. Where that is gone, as with a project that was moved, no folders are made."""


class LogLimits(Struct, frozen=True):
    """What to keep of a task's log: total bytes, and age in seconds; None for no limit."""

    max_bytes: int | None = 30_000_000
    max_age: float | None = None
    text: TextFile | None = None
