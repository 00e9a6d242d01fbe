"""The supervisor's clock: epoch seconds that never jump.

Deadlines have to survive the supervisor, so they are epoch times; but the system's clock may be set while they run.
So the epoch is read once, and the monotonic clock counts on from there.
"""

from __future__ import annotations

import time


class Clock:
    """Epoch seconds, monotonic within one life of the supervisor."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """The time in epoch seconds."""
        return time.monotonic() + self._offset
