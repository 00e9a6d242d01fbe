"""When tasks with a ``schedule`` have their turn: one run at each of their times, none beside another.

`step` is asked at any moment, at the latest when it said. It is told the first time of each task after now, which is
what that task waits for until the next look; what it waited for and is not ahead any more has come. No time is worked
out from one that has passed: when the clock is set, the next look has the right time, and of all the times that a clock
or a sleeping machine has skipped comes one run. A time that cannot be worked out leaves the one that is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from paneview.rules.jobs import next_look
from paneview.rules.states import TaskPhase

LONGEST_WAIT = 60.0  # seconds: the wall clock may be set meanwhile


class Scheduled(Struct, frozen=True):
    """A task with a schedule, as far as its turn depends on it. Times are epoch seconds."""

    expression: str
    following: float | None
    """The first of its times after now. None: there is none, or it cannot be worked out at present."""
    phase: TaskPhase = TaskPhase.IDLE
    manual_stop: bool = False


class Due(Struct, frozen=True):
    """A time that is waited for, and the expression that it comes from."""

    expression: str
    at: float


class Turns(NamedTuple):
    """What `step` decided."""

    due: dict[str, Due]
    """By task; all of them are ahead."""
    starts: list[str]
    """Tasks whose time has come."""
    skipped: dict[str, str]
    """Those whose time has come and that have no run at it all the same: why, for people."""
    wait: float
    """Seconds after which to look again, if nothing changes before."""


def step(due: Mapping[str, Due], tasks: Mapping[str, Scheduled], now: float, held: str = "") -> Turns:
    """Whose time has come, and what is due next. ``held``: why nothing is to start at present, if so."""
    starts: list[str] = []
    skipped: dict[str, str] = {}
    for name, task in tasks.items():
        if name not in due or due[name].at > now:
            continue
        if task.phase.under_way:
            skipped[name] = f"still {task.phase} when its next time came"
        elif task.manual_stop:
            continue  # a person keeps it stopped, and need not be told each time
        elif held:
            skipped[name] = held
        else:
            starts.append(name)
    ahead = {name: known for name, task in tasks.items() if (known := _next(task, due.get(name), now))}
    wait = next_look(LONGEST_WAIT, *(known.at - now for known in ahead.values()))
    return Turns(ahead, starts, skipped, wait)


def _next(task: Scheduled, known: Due | None, now: float) -> Due | None:
    # One that is not ahead would come at once, and again, without a pause.
    if task.following is not None and task.following > now:
        return Due(task.expression, task.following)
    still = known is not None and known.expression == task.expression and known.at > now
    return known if still else None
