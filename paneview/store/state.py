"""The supervisor's durable state: tasks, runs and events in ``state.db``, written by a thread of its own.

Group commit: `put` queues a change and returns an awaitable; all changes queued while one transaction runs
go into the next. Order is kept, so what is durable is always a prefix of what was put. At rest a change is
durable half a millisecond later; under load hundreds share one commit.

A second, read-only connection (aiosqlite) serves the queries, so a long query of the events never delays a write.
While the disk is full the changes stay queued (the newest state of each task and run, and the newest
`MAX_QUEUED_EVENTS` events) and are retried every second, and `on_trouble` is called. Rows that can never be written
are logged and skipped. A database found damaged while running is moved aside and a new one is created.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from paneview.store import state_schema as schema
from paneview.store.database import BUSY_TIMEOUT, StoreError, is_damaged, move_aside, prepare, read_only_uri
from paneview.store.rows import Change, EventRow, Loaded, RunRow
from paneview.store.state_schema import EventFilter
from paneview.store.state_writer import Batch, Keep, StateWriter, is_of_a_row

logger = logging.getLogger(__name__)

T = TypeVar("T")
RETRY = 1.0  # seconds between two attempts while the disk is full


class StateStore:
    """The only writer of ``state.db``; belongs to one event loop."""

    def __init__(self, path: Path, keep: Keep, on_trouble: Callable[[str | None], None]) -> None:
        self._path = path
        self._keep = keep
        self._on_trouble = on_trouble
        self._moved: Path | None = None
        self._queue = Batch()
        self._thread = ThreadPoolExecutor(1, "state store")
        self._flusher: asyncio.Task[None] | None = None
        self._closing = False
        self._open = False
        self.trouble = ""
        """Why nothing can be written at present; empty if writing works."""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        keep: Keep | None = None,
        on_trouble: Callable[[str | None], None] = lambda _message: None,
    ) -> StateStore:
        """Open or create the database.

        `on_trouble` receives a message once when writing begins to fail, and None when it works again.
        Raises `StoreTooNewError`, or `StoreError` if the path cannot be used.
        """
        store = cls(path, keep or Keep(), on_trouble)
        try:
            await store._connect()
        except BaseException:  # including cancellation: nothing else would end the thread
            store._thread.shutdown(wait=False)
            raise
        return store

    async def load(self) -> Loaded:
        """Load everything a new supervisor starts from. Raises `StoreError`."""
        try:
            return await self._load()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise StoreError(f"cannot read {self._path}: {error}") from error
            await self._begin_anew()
            return await self._load()

    def put(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done when it is durable. Order is kept; awaiting it is optional.

        Changes that are written together share one future: shield it where the waiter may be cancelled.
        Raises `StoreError` if the store is closed.
        """
        if self._closing:
            raise StoreError("the state store is closed")
        done = self._queue.add(change)
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
        """Stored events, oldest first: the newest `limit`, or with `after_id` the next `limit` after it.

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
        except (sqlite3.Error, ValueError) as error:
            # ValueError: the connection is closed because a damaged database is being replaced.
            raise StoreError(f"cannot read {self._path}: {error}") from error

    async def close(self) -> None:
        """Write what is queued and close. Raises `StoreError` if that cannot be written."""
        self._closing = True
        try:
            if self._flusher is not None:
                await self._flusher
        finally:
            await self._disconnect()
            self._thread.shutdown(wait=False)
        if self._queue.waiting:
            raise StoreError(f"the last changes could not be written to {self._path}")

    async def _connect(self) -> None:
        moved = await asyncio.to_thread(prepare, self._path, schema.MIGRATIONS, pragmas=schema.PRAGMAS)
        self._moved = moved or self._moved
        self._writer = await self._on_thread(StateWriter, self._path, self._keep)
        self._reader = await aiosqlite.connect(
            read_only_uri(self._path), uri=True, timeout=BUSY_TIMEOUT, isolation_level=None
        )
        self._open = True

    async def _disconnect(self) -> None:
        if not self._open:
            return
        self._open = False
        await self._reader.close()
        await self._on_thread(self._writer.close)

    def _on_thread(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def _begin_anew(self) -> None:
        await self._disconnect()
        self._moved = await asyncio.to_thread(move_aside, self._path)
        await self._connect()

    async def _load(self) -> Loaded:
        return await self._on_thread(self._writer.load, self._moved)

    async def _flush(self) -> None:
        while self._queue.waiting:
            batch, self._queue = self._queue, Batch()
            try:
                if not self._open:  # a damaged database could not be replaced at once
                    await self._connect()
                await self._write(batch)
            except Exception as error:  # noqa: BLE001 - all later changes depend on this task
                batch.join(self._queue)
                self._queue = batch
                if self._closing:
                    return
                await self._after_failure(error)
            else:
                self._tell_trouble(None)
                if batch.dropped:
                    logger.error("store: the oldest %d events were given up meanwhile", batch.dropped)
                for done in batch.waiting:
                    if not done.done():
                        done.set_result(None)

    async def _write(self, batch: Batch) -> None:
        try:
            await self._on_thread(self._writer.write, batch)
        except Exception as error:
            if not is_of_a_row(error):
                raise
            for what in await self._on_thread(self._writer.write_what_can_be, batch):
                logger.error("store: this cannot be written, and is left out: %s", what)

    async def _after_failure(self, error: Exception) -> None:
        if is_damaged(error):
            try:
                await self._begin_anew()
            except (StoreError, sqlite3.Error, OSError) as second:
                error = second
            else:
                self._tell_trouble(f"{self._path} was damaged; moved to {self._moved}, begun anew")
                return
        self._tell_trouble(f"cannot write {self._path}: {error}")
        await asyncio.sleep(RETRY)

    def _tell_trouble(self, message: str | None) -> None:
        if bool(self.trouble) != bool(message):
            self._on_trouble(message)
        self.trouble = message or ""
