"""What the ingest knows of bytes it has seen but not stored yet, for readers in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from paneview.store.spool import Key


class KnownTimes(NamedTuple):
    """When the bytes of a run after the position `at` came."""

    at: tuple[Key, int]
    marks: tuple[tuple[int, float], ...]
    """(offset, epoch seconds): when the bytes from each offset on came."""
    seen: int
    """How many bytes have been seen."""


Known = Callable[[int], KnownTimes | None]  # takes a run; called on any thread


def nobody_knows(_run: int) -> KnownTimes | None:
    """The `Known` of readers in other processes: nothing is known."""
    return None
