"""The journal: numbers runs and events, makes every change durable, and publishes it to subscribers.

A change is one transaction: the task's new state, its run's row and the events that go with it. Numbers are assigned
here, in memory, so that an event is published at once. `put` returns an awaitable that is done when the change is on
disk; it is awaited before anything is done to a process, so that a stop that was carried out is never forgotten.

The exception is when nothing can be written, as on a full disk. Then processes are still ended, since it may be a task
that fills the disk, and the client's reply says that this was not recorded; none is started before there is room.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from paneview.config.secrets import Masker
from paneview.control.audience import Audience
from paneview.rules.states import SUPERVISOR, Emit, TaskState
from paneview.store.rows import Change, EventRow, RunRow
from paneview.store.state import StateStore
from paneview.supervisor.clock import Clock
from paneview.text import person

logger = logging.getLogger(__name__)

# The store's row for the session as a whole: no task can have this name.
SESSION = ":session"
LOOK = 0.25  # seconds between two looks at whether the store can write at all


class Durable:
    """A change on its way to disk, with many waiters: cancelling one of them does not affect the others."""

    def __init__(self, written: asyncio.Future[None]) -> None:
        self._written = written

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until the change is on disk."""
        return asyncio.shield(self._written).__await__()

    async def unless(self, trouble: Callable[[], str]) -> str:
        """Wait until the change is on disk, or until ``trouble``, called every `LOOK` seconds, returns some.

        Returns that trouble, or the empty string.
        """
        while not self._written.done():
            await asyncio.wait([self._written], timeout=LOOK)
            if not self._written.done() and (words := trouble()):
                return words
        return ""


class Journal:
    """Numbers, durability and fan-out of everything that happens in one project.

    ``numbers``: the next run's and the next event's. ``masker`` hides secrets before anything is stored or published.
    """

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        session: str,
        numbers: tuple[int, int],
        audience: Audience,
        masker: Masker,
    ) -> None:
        self._store = store
        self._clock = clock
        self._session = session
        self._next_run, self._next_event = numbers
        self._audience = audience
        self._masker = masker
        self._last: Durable | None = None

    def new_run(self) -> int:
        """A run number that was never used before."""
        number = self._next_run
        self._next_run += 1
        return number

    def skip_runs(self, used: int) -> None:
        """Never use ``used`` or a lower number for a new run: an earlier run has it."""
        self._next_run = max(self._next_run, used + 1)

    def put(
        self,
        *,
        task: str | None = None,
        state: TaskState | None = None,
        run: RunRow | None = None,
        events: Iterable[Emit] = (),
    ) -> Durable:
        """Record one change; the returned awaitable is done when it is durable."""
        number = run.id if run else state.run if state else None
        rows = [self._row(task, number if emit.of_run else None, emit) for emit in events]
        tasks = {task: state.to_dict()} if task is not None and state is not None else {}
        return self._commit(Change(tasks=tasks, runs=[run] if run else [], events=rows))

    @property
    def trouble(self) -> str:
        """Why nothing can be recorded at present; empty if it can."""
        return self._store.trouble

    async def durable(self) -> str:
        """Wait until everything recorded so far is on disk; if nothing can be written, return why instead."""
        return await self.recorded(self._last) if self._last is not None else ""

    async def recorded(self, change: Durable) -> str:
        """As `durable`, for one change."""
        return await change.unless(lambda: self._store.trouble)

    def put_session(self, session: Mapping[str, Any]) -> Durable:
        """Record what holds for the session as a whole."""
        return self._commit(Change(tasks={SESSION: session}))

    def forget(self, task: str, *events: Emit) -> Durable:
        """Record that a task is no longer part of the project."""
        rows = [self._row(task, None, emit) for emit in events]
        return self._commit(Change(tasks={task: None}, runs=[], events=rows))

    def note(self, kind: str, cause: str = "", *, by: str = SUPERVISOR, **detail: Any) -> Durable:
        """Record an event that belongs to no task."""
        return self.put(events=[Emit(kind, cause, detail, by)])

    def note_session(self, kind: str, tasks: Iterable[str], by: str) -> Durable:
        """Record that everything was started or stopped at once."""
        return self.note(kind, f"asked by {person(by)}", by=by, tasks=list(tasks))

    def note_task(self, task: str, run: int | None, kind: str, cause: str = "", **detail: Any) -> Durable:
        """Record an event of a task that does not change its state."""
        row = self._row(task, run, Emit(kind, cause, detail))
        return self._commit(Change(tasks={}, runs=[], events=[row]))

    async def events(self, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Recorded events as clients see them, oldest first, including all that have happened so far."""
        await self.durable()
        rows = await self._store.events(
            task=args["task"], kinds=args["kinds"], since=args["since"], until=args["until"],
            after_id=args["after"], limit=args["limit"],
        )  # fmt: skip
        return [row.to_json(self._session) for row in rows]

    def _row(self, task: str | None, run: int | None, emit: Emit) -> EventRow:
        number = self._next_event
        self._next_event += 1
        return EventRow(
            id=number,
            ts=self._clock.wall(),
            kind=emit.kind,
            task=task,
            run=run,
            cause=self._masker.json(emit.cause),
            actor=emit.by,
            detail=self._masker.json(emit.detail),
        )

    def _commit(self, change: Change) -> Durable:
        self._last = durable = Durable(self._store.put(change))
        for row in change.events:
            self._tell(row)
        return durable

    def _tell(self, row: EventRow) -> None:
        logger.info("%s %s: %s", row.kind, row.task or "-", row.cause)
        self._audience.publish_event(row.to_json(self._session))
