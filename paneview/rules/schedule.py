"""When tasks with a ``schedule`` start: one run at each of their times, never two at once.

`step` may be called at any moment, and must be called when its last ``wait`` is over. It gets the first time of each
task after now, which the task waits for until the next call; a time that was waited for and is no longer ahead has
come. No time is derived from one that has passed: after the clock was set, the next call has the right time, and all
the times skipped by a clock or a sleeping machine together cause one run. Where the next time cannot be worked out,
the known one stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from paneview.rules.jobs import next_look
from paneview.rules.states import TaskPhase

LONGEST_WAIT = 60.0  # seconds: the wall clock may be set meanwhile


class Scheduled(Struct, frozen=True):
    """A task with a schedule: all that decides about its starts. Times are epoch seconds."""

    expression: str
    following: float | None
    """The first of its times after now. None: there is none, or it cannot be worked out at present."""
    phase: TaskPhase = TaskPhase.IDLE
    manual_stop: bool = False


class Due(Struct, frozen=True):
    """A time that a task waits for, and the cron expression that it comes from."""

    expression: str
    at: float


class Turns(NamedTuple):
    """What `step` decided."""

    due: dict[str, Due]
    """The next time of each task; all are in the future."""
    starts: list[str]
    """Tasks to start, because their time has come."""
    skipped: dict[str, str]
    """Tasks whose time has come but that do not start, and why, for people."""
    wait: float
    """Seconds until the next call, unless something changes before."""


def step(due: Mapping[str, Due], tasks: Mapping[str, Scheduled], now: float, held: str = "") -> Turns:
    """Which tasks start now, and what is due next. ``held``: why nothing may start at present; empty if it may."""
    starts: list[str] = []
    skipped: dict[str, str] = {}
    for name, task in tasks.items():
        if name not in due or due[name].at > now:
            continue
        if task.phase.under_way:
            skipped[name] = f"still {task.phase} when its next time came"
        elif task.manual_stop:
            continue  # a person keeps it stopped, and needs no event each time
        elif held:
            skipped[name] = held
        else:
            starts.append(name)
    ahead = {name: known for name, task in tasks.items() if (known := _next(task, due.get(name), now))}
    wait = next_look(LONGEST_WAIT, *(known.at - now for known in ahead.values()))
    return Turns(ahead, starts, skipped, wait)


def _next(task: Scheduled, known: Due | None, now: float) -> Due | None:
    # A time that is not in the future would come at once, again and again.
    if task.following is not None and task.following > now:
        return Due(task.expression, task.following)
    still = known is not None and known.expression == task.expression and known.at > now
    return known if still else None
