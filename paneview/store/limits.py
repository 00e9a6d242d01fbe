"""How much of a task's log is kept, and where else it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TextFile:
    """A plain, rotated copy of a task's log. Sizes in bytes."""

    path: Path
    max_size: int = 10_000_000
    max_files: int = 3


@dataclass(frozen=True, slots=True)
class LogLimits:
    """What to keep of a task's log: bytes in all, and seconds; None for no limit."""

    max_bytes: int | None = 30_000_000
    max_age: float | None = None
    text: TextFile | None = None
