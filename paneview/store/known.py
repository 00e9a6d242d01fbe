"""What the ingest knows of bytes that it has seen and not stored yet, for readers in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from paneview.store.spool import Key


class KnownTimes(NamedTuple):
    """When the bytes of a run behind a position came."""

    at: tuple[Key, int]
    marks: tuple[tuple[int, float], ...]
    """From which of them on they came when, epoch seconds."""
    seen: int
    """How many have been seen."""


Known = Callable[[int], KnownTimes | None]  # asked for a run, on any thread


def nobody_knows(_run: int) -> KnownTimes | None:
    """For readers in other processes."""
    return None
