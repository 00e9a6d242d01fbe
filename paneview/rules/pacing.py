"""Which start has its turn when, where many tasks that others wait for start together.

Programs that start side by side share the cores: twenty that need 20 ms each on two cores are all ready after 200 ms,
and none before. One after the other the first is ready after 20 ms, and what waits for it begins while the rest still
start; the last is ready no later. So the starts are spread over the time that the cores need for them anyway.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

WORK = 0.04  # seconds of a core: the start of a small program and of what supervises it, side by side with others


class Pace(Struct, frozen=True):
    """How far the starts that were granted reach into the future."""

    cores: int
    booked: float = 0.0
    """When the cores are through with them, on the clock that `turn` is told."""


def turn(pace: Pace, now: float) -> tuple[Pace, float]:
    """Book one start; when it may begin: at once as long as a core is free for it."""
    booked = max(pace.booked, now) + WORK / pace.cores
    return replace(pace, booked=booked), max(now, booked - WORK)
