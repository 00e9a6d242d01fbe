"""Tasks with a ``schedule``: checks the wall clock when `rules.schedule` says, and starts tasks whose time has come.

What they depend on starts with them. A time that passes while no supervisor is running is not made up for. Cron times
are wall-clock times, so when the clock is set, the next time is worked out anew within a minute. A changed schedule
counts from the moment it is applied.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from paneview.config.schedule import next_time
from paneview.rules.schedule import Due, Scheduled, step
from paneview.rules.states import Start
from paneview.supervisor.journal import Journal
from paneview.supervisor.tasks.supervisor import GOING_DOWN, Supervisor
from paneview.supervisor.tasks.unit import Unit

logger = logging.getLogger(__name__)


class Schedules:
    """Starts scheduled tasks at their times, but none while the project is being taken down."""

    def __init__(self, supervisor: Supervisor, journal: Journal) -> None:
        self._supervisor = supervisor
        self._journal = journal
        self._changed = asyncio.Event()
        self._due: dict[str, Due] = {}
        self._unknown: set[str] = set()  # tasks whose next time cannot be worked out, as was reported
        self.next: dict[str, float] = {}  # task -> epoch seconds of its next run

    async def run(self) -> None:
        """Follow the schedules for ever."""
        while True:
            self._changed.clear()
            wait = self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def changed(self) -> None:
        """Note that units or their schedules have changed: their times count from now on."""
        self._look()  # not only in `run`: the next time may come before that has its turn
        self._changed.set()

    def _look(self) -> float:
        """Start what is due; returns the seconds until the next look."""
        now = time.time()
        units = self._supervisor.units
        tasks = {
            name: Scheduled(
                expression, self._following(unit, expression, now), unit.state.phase, unit.state.manual_stop
            )
            for name, unit in units.items()
            if (expression := unit.task.schedule)
        }
        turns = step(self._due, tasks, now, GOING_DOWN if self._supervisor.going_down else "")
        self._due = turns.due
        shown = dict(self.next)
        self.next.clear()
        self.next.update({name: due.at for name, due in turns.due.items()})
        for name, why in turns.skipped.items():
            self._journal.note_task(name, units[name].state.run, "schedule_skipped", why)
        for name in self._with_what_they_need(turns.starts):
            units[name].feed(Start("schedule"))
        for name in tasks:  # a task that waits, or a clock that was set, has no other change to be shown with
            if self.next.get(name) != shown.get(name):
                self._supervisor.changed(name)
        return turns.wait

    def _with_what_they_need(self, names: list[str]) -> list[str]:
        """As at any other start, except for what a person keeps stopped."""
        if not names:
            return names
        return [*self._supervisor.brought_along(names), *names]

    def _following(self, unit: Unit, expression: str, now: float) -> float | None:
        """The first time after now; None after a defect, which is reported once and affects no other task."""
        try:
            following = next_time(expression, now)
        except Exception as error:
            if unit.name not in self._unknown:
                self._unknown.add(unit.name)
                logger.exception("%s: no next time of %r", unit.name, expression)
                words = f"the next time of {expression!r} cannot be worked out: {error!r}"
                self._journal.note_task(unit.name, None, "internal_error", words)
            return None
        self._unknown.discard(unit.name)
        return following
