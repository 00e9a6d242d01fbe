"""Tasks with a ``schedule``: one run at each of its times, and none while the last is still running.

A time that passes while no supervisor lives is not made up for. Cron times are wall-clock times, so the timer looks
at the wall clock: when it is set, the next time is worked out anew within a minute. What a changed file says counts
from the moment it is applied.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from paneview.config.schedule import next_time
from paneview.rules.states import Phase, Start
from paneview.supervisor.journal import Journal
from paneview.supervisor.supervisor import GOING_DOWN
from paneview.supervisor.unit import Unit

LONGEST_SLEEP = 60.0  # seconds: the wall clock may be set meanwhile

_BUSY = frozenset({Phase.WAITING, Phase.STARTING, Phase.RUNNING, Phase.STOPPING, Phase.BACKOFF})


class Schedules:
    """Starts scheduled tasks at their times. ``units`` gives the units there are now.

    ``going_down``: whether the project is just being taken down, so that nothing is to start.
    """

    def __init__(
        self,
        units: Callable[[], list[Unit]],
        journal: Journal,
        going_down: Callable[[], bool] = lambda: False,
    ) -> None:
        self._units = units
        self._journal = journal
        self._going_down = going_down
        self._changed = asyncio.Event()
        self.next: dict[str, float] = {}  # task -> epoch seconds of its next run

    async def run(self) -> None:
        """Keep the schedules for ever."""
        while True:
            now = time.time()
            self._arm(now)
            soonest = min(self.next.values(), default=now + LONGEST_SLEEP)
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(max(soonest - now, 0.0), LONGEST_SLEEP))
            self._fire(time.time())

    def changed(self) -> None:
        """The units are others now, or have other schedules: their times count from now on."""
        self._arm(time.time())  # here, since the next of them may come before the loop has its turn
        self._changed.set()

    def _arm(self, now: float) -> None:
        scheduled = {unit.name: unit.task.schedule for unit in self._units() if unit.task.schedule}
        for name in [name for name in self.next if name not in scheduled]:
            del self.next[name]
        for name, expression in scheduled.items():
            known, due = self.next.get(name), next_time(expression, now)
            if due is None or due <= now:  # a time that has passed would be armed and fired without a pause
                continue
            # Far ahead: the clock was set back, or the expression is another one now.
            if known is None or known > now:
                self.next[name] = due

    def _fire(self, now: float) -> None:
        for unit in self._units():
            due = self.next.get(unit.name)
            if due is None or due > now:
                continue
            del self.next[unit.name]
            if unit.state.phase in _BUSY:
                self._skip(unit, f"still {unit.state.phase} at its next time")
            elif unit.state.manual_stop:
                continue
            elif self._going_down():
                self._skip(unit, GOING_DOWN)
            else:
                unit.feed(Start("schedule"))

    def _skip(self, unit: Unit, why: str) -> None:
        self._journal.note_task(unit.name, unit.state.run, "schedule_skipped", why)
