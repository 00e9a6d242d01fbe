"""The supervisor's clocks, both in epoch seconds: one for the times that are recorded, one for deadlines.

Recorded times must agree with the wall clock of whoever reads them, even if it was set meanwhile. Deadlines must
survive the supervisor, so they are epoch times, too; but they must not jump when the system's clock is set. So for
deadlines the epoch is read once, and from there on a steady clock counts, which also runs while the machine sleeps.
"""

from __future__ import annotations

import time

# time.monotonic() stands still while a laptop sleeps; these clocks don't (macOS has only the second).
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _offset() -> float:
    """Seconds from the steady clock to the epoch; too large by the delay between reading the two clocks."""
    steady = time.clock_gettime(_STEADY)
    return time.time() - steady


class Clock:
    """Epoch seconds: ``now`` never jumps within one life of the supervisor, ``wall`` is the system's clock."""

    def __init__(self) -> None:
        self._offset = min(_offset() for _ in range(5))  # other processes may run between the two readings

    def now(self) -> float:
        """The time for deadlines."""
        return time.clock_gettime(_STEADY) + self._offset

    def wall(self) -> float:
        """The time to record."""
        return time.time()

    def ahead(self) -> int:
        """Whole seconds by which the wall clock was set ahead of ``now``; people see no smaller difference."""
        return round(self.wall() - self.now())
