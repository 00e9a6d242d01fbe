"""Pacing starts, when many tasks that others wait for start together.

Programs that start side by side share the cores: twenty that need 20 ms each on two cores are all ready after 200 ms,
and none before. Started one after the other, the first is ready after 20 ms, so that its dependents start while the
rest are still starting; the last is ready no later. So starts are spread over the time that the cores need anyway.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

WORK = 0.04  # core seconds to start a small program and its supervision, while others start as well


class Pace(Struct, frozen=True):
    """How far ahead the cores are booked with starts."""

    cores: int
    booked: float = 0.0
    """When the cores will have finished them, on the clock that `turn` gets its times from."""


def turn(pace: Pace, now: float) -> tuple[Pace, float]:
    """Book one start; also returns when it may begin, which is at once as long as a core is free."""
    booked = max(pace.booked, now) + WORK / pace.cores
    return replace(pace, booked=booked), max(now, booked - WORK)
