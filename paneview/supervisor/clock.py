"""The supervisor's clocks, both in epoch seconds: what happens is recorded by one, deadlines go by the other.

What is recorded has to agree with the clocks of those who read it, whatever these were set to meanwhile. Deadlines
have to survive the supervisor, so they are epoch times, too; but they must not jump when the system's clock is set. So
for them the epoch is read once, and a clock that nobody sets counts on from there, also while the machine sleeps.
"""

from __future__ import annotations

import time

# Python's own monotonic clock stands still in a laptop's sleep; of these none does (macOS has but the second).
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _offset() -> float:
    """From the steady clock to the epoch, seconds; too much by as long as the second look was kept waiting."""
    steady = time.clock_gettime(_STEADY)
    return time.time() - steady


class Clock:
    """Epoch seconds: ``now`` never jumps within one life of the supervisor, ``wall`` is what clocks show."""

    def __init__(self) -> None:
        self._offset = min(_offset() for _ in range(5))  # others may run between the two looks that it takes

    def now(self) -> float:
        """The time that deadlines go by."""
        return time.clock_gettime(_STEADY) + self._offset

    def wall(self) -> float:
        """The time to record."""
        return time.time()

    def ahead(self) -> int:
        """By how many seconds clocks show more than ``now``: they were set. Whole seconds: nobody sees less."""
        return round(self.wall() - self.now())
