"""The supervisor's durable state: tasks, runs and events in ``state.db``, written through aiosqlite.

Group commit: `put` queues a change and returns an awaitable; whatever has gathered when the previous
transaction is done goes into the next one. Order is kept, so what is durable is always a prefix of what was
put. At rest a change is durable half a millisecond later; under load hundreds share one commit.

A second, read-only connection serves the queries, so a long look at the events never delays a write. While
the disk is full nothing is dropped: the changes stay queued (the newest state of each task and run, and the
events), are tried again every second, and `on_trouble` is told. A database found damaged while running is
moved aside and begun anew.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiosqlite

from paneview.store import state_schema as schema
from paneview.store.database import BUSY_TIMEOUT, StoreError, is_damaged, move_aside, prepare, read_only_uri
from paneview.store.rows import Change, EventRow, Loaded, RunRow
from paneview.store.state_schema import EventFilter

RETRY = 1.0  # seconds between two tries while the disk is full
TRIM_STEP = 500  # events deleted at most per commit: under 5 ms
TRIM_EVERY = (
    100  # events: so many more than the limit may be kept, since every statement is a trip to another thread
)
AGE_CHECK = 60.0  # seconds between two looks for events that are too old
MAX_QUEUED_EVENTS = 50_000  # kept in memory while nothing can be written; beyond that the oldest go


@dataclass(frozen=True, slots=True)
class Keep:
    """How much history to keep. None: no limit of that kind."""

    events: int | None = 200_000
    events_age: float | None = None  # seconds
    runs: int = 1_000  # per task


@dataclass(slots=True)
class _Batch:
    """Changes on their way into one transaction: the last state of each key wins, events add up."""

    tasks: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    runs: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def add(self, change: Change, done: asyncio.Future[None]) -> None:
        for name, data in change.tasks.items():
            self.tasks.pop(name, None)
            self.tasks[name] = data
        self.runs.update((run.id, schema.run_values(run)) for run in change.runs)
        self.events.extend(map(schema.event_values, change.events))
        self.waiting.append(done)

    def join(self, later: _Batch) -> None:
        self.tasks.update(later.tasks)
        self.runs.update(later.runs)
        self.events.extend(later.events)
        del self.events[:-MAX_QUEUED_EVENTS]
        self.waiting.extend(later.waiting)


def _encoded(data: Mapping[str, Any]) -> str:
    return json.dumps(dict(data), ensure_ascii=False)


class StateStore:
    """The one writer of ``state.db``; lives on one event loop."""

    def __init__(self, path: Path, keep: Keep, on_trouble: Callable[[str | None], None]) -> None:
        self._path = path
        self._keep = keep
        self._on_trouble = on_trouble
        self._moved: Path | None = None
        self._queue = _Batch()
        self._flusher: asyncio.Task[None] | None = None
        self._closing = False
        self._troubled = False
        self._next_age_check = 0.0
        self._next_trim = 0  # the event after which those beyond the limit are looked for again

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        keep: Keep | None = None,
        on_trouble: Callable[[str | None], None] = lambda _message: None,
    ) -> StateStore:
        """Open or create the database.

        `on_trouble` is told once when writing begins to fail, and None when it works again.
        Raises `StoreTooNewError`, and `StoreError` if the place is unusable.
        """
        store = cls(path, keep or Keep(), on_trouble)
        await store._connect()
        return store

    async def load(self) -> Loaded:
        """Everything a new supervisor starts from."""
        try:
            return await self._load()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise StoreError(f"cannot read {self._path}: {error}") from error
            await self._begin_anew()
            return await self._load()

    def put(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done when it is durable. Order is kept; need not be awaited."""
        if self._closing:
            raise StoreError("the state store is closed")
        done = asyncio.get_running_loop().create_future()
        self._queue.add(change, done)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="state store")
        return done

    async def events(
        self,
        *,
        task: str | None = None,
        kinds: Collection[str] | None = None,
        since: float | None = None,
        until: float | None = None,
        after_id: int | None = None,
        limit: int = 1000,
    ) -> list[EventRow]:
        """Stored events, oldest first: the newest `limit`, or with `after_id` the next `limit` behind it.

        Raises `StoreError` if they cannot be read.
        """
        wanted = EventFilter(task, kinds, since, until, after_id, limit)
        return schema.read_events(await self._ask(schema.select_events(wanted)))

    async def runs(self, task: str | None = None, limit: int = 50) -> list[RunRow]:
        """Stored runs, newest first."""
        return schema.read_runs(await self._ask(schema.select_runs(task, limit)))

    async def _ask(self, statement: schema.Statement) -> Iterable[Any]:
        try:
            return await self._reader.execute_fetchall(*statement)
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}") from error

    async def close(self) -> None:
        """Write what is queued and close. Raises `StoreError` if that cannot be written."""
        self._closing = True
        try:
            if self._flusher is not None:
                await self._flusher
        finally:
            await self._disconnect()
        if self._queue.waiting:
            raise StoreError(f"the last changes could not be written to {self._path}")

    async def _connect(self) -> None:
        moved = await asyncio.to_thread(prepare, self._path, schema.MIGRATIONS, pragmas=schema.PRAGMAS)
        self._moved = moved or self._moved
        self._writer = await aiosqlite.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
        await self._writer.execute("PRAGMA synchronous = NORMAL")
        self._reader = await aiosqlite.connect(
            read_only_uri(self._path), uri=True, timeout=BUSY_TIMEOUT, isolation_level=None
        )

    async def _disconnect(self) -> None:
        await self._reader.close()
        await self._writer.close()

    async def _begin_anew(self) -> None:
        await self._disconnect()
        self._moved = await asyncio.to_thread(move_aside, self._path)
        await self._connect()

    async def _load(self) -> Loaded:
        tasks = await self._writer.execute_fetchall("SELECT name, data FROM task")
        runs = schema.read_runs(await self._writer.execute_fetchall(schema.select_current_runs()))
        (last_event,) = next(iter(await self._writer.execute_fetchall("SELECT max(id) FROM event")))
        # Panes, spool and logs may carry run ids that a lost database knew: the clock is above them all.
        floor = int(time.time()) if self._moved else 0
        return Loaded(
            tasks={name: json.loads(data) for name, data in tasks},
            runs={run.id: run for run in runs},
            next_run=max((run.id for run in runs), default=floor) + 1,
            next_event=(last_event or floor) + 1,
            moved_aside=self._moved,
        )

    async def _flush(self) -> None:
        while self._queue.waiting:
            batch, self._queue = self._queue, _Batch()
            try:
                await self._write(batch)
            except sqlite3.Error as error:
                batch.join(self._queue)
                self._queue = batch
                if self._closing:
                    return
                await self._after_failure(error)
            else:
                self._tell_trouble(None)
                for done in batch.waiting:
                    if not done.done():
                        done.set_result(None)

    async def _after_failure(self, error: sqlite3.Error) -> None:
        if is_damaged(error):
            await self._begin_anew()
            self._tell_trouble(f"{self._path} was damaged; moved to {self._moved}, begun anew")
            return
        self._tell_trouble(f"cannot write {self._path}: {error}")
        await asyncio.sleep(RETRY)

    def _tell_trouble(self, message: str | None) -> None:
        if self._troubled or message:
            if not (self._troubled and message):
                self._on_trouble(message)
            self._troubled = message is not None

    async def _write(self, batch: _Batch) -> None:
        writer = self._writer
        await writer.execute("BEGIN IMMEDIATE")
        try:
            if stored := [(name, _encoded(data)) for name, data in batch.tasks.items() if data is not None]:
                await writer.executemany(schema.PUT_TASK, stored)
            if forgotten := [(name,) for name, data in batch.tasks.items() if data is None]:
                await writer.executemany(schema.FORGET_TASK, forgotten)
            if batch.runs:
                await writer.executemany(schema.PUT_RUN, list(batch.runs.values()))
            if batch.events:
                await writer.executemany(schema.PUT_EVENT, batch.events)
            await self._trim(batch)
            await writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                await writer.execute("ROLLBACK")
            raise

    async def _trim(self, batch: _Batch) -> None:
        """Delete a step of what is beyond the limits: old events by their ids, old runs of the tasks just
        written."""
        if batch.events and self._keep.events is not None and batch.events[-1][0] >= self._next_trim:
            last = batch.events[-1][0]
            await self._writer.execute(
                "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id <= ? ORDER BY id LIMIT ?)",
                (last - self._keep.events, max(TRIM_STEP, 2 * len(batch.events))),
            )
            self._next_trim = last + TRIM_EVERY
        now = time.time()
        if self._keep.events_age is not None and now >= self._next_age_check:
            deleted = await self._writer.execute(
                "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE ts < ? ORDER BY ts LIMIT ?)",
                (now - self._keep.events_age, TRIM_STEP),
            )
            self._next_age_check = 0.0 if deleted.rowcount == TRIM_STEP else now + AGE_CHECK
        if ended := {values[1] for values in batch.runs.values() if values[schema.RUN_ENDED_AT] is not None}:
            await self._writer.executemany(schema.TRIM_RUNS, [(task, self._keep.runs) for task in ended])
