"""The transactions of ``state.db``, run on the state store's thread. Everything here blocks.

A transaction is one call on that thread: a round trip for each statement, waiting for the interpreter's lock each
time, cost three times as much as SQLite itself.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from paneview.store import state_schema as schema
from paneview.store.database import connect
from paneview.store.rows import Change, Loaded

TRIM_STEP = 500  # events deleted at most per commit: under 5 ms
TRIM_EVERY = 100  # events that may be kept beyond the limit
AGE_CHECK = 60.0  # seconds between two checks for events that are too old
MAX_QUEUED_EVENTS = 50_000  # kept in memory while nothing can be written; beyond that the oldest are dropped


class Keep(Struct, frozen=True):
    """How much history to keep; None for no limit."""

    events: int | None = 200_000
    events_age: float | None = None  # seconds
    runs: int = 1_000  # per task


class Batch(Struct):
    """Changes to be written in one transaction: the last state of each task and run wins, events accumulate."""

    tasks: dict[str, Mapping[str, Any] | None] = {}
    runs: dict[int, tuple[Any, ...]] = {}
    events: list[tuple[Any, ...]] = []
    waiting: list[asyncio.Future[None]] = []
    dropped: int = 0
    """How many events were discarded because too many were queued."""

    def add(self, change: Change) -> asyncio.Future[None]:
        """Add a change; returns the future that all changes of this batch share."""
        for name, data in change.tasks.items():
            self.tasks.pop(name, None)
            self.tasks[name] = data
        self.runs.update((run.id, schema.run_values(run)) for run in change.runs)
        self.events.extend(map(schema.event_values, change.events))
        if not self.waiting:
            self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[0]

    def join(self, later: Batch) -> None:
        """Append a batch that was queued later."""
        self.tasks.update(later.tasks)
        self.runs.update(later.runs)
        self.events.extend(later.events)
        self.dropped += later.dropped + max(0, len(self.events) - MAX_QUEUED_EVENTS)
        del self.events[:-MAX_QUEUED_EVENTS]
        self.waiting.extend(later.waiting)

    def apart(self) -> Iterator[Batch]:
        """Split into batches of one row each."""
        yield from (Batch(tasks={name: data}) for name, data in self.tasks.items())
        yield from (Batch(runs={run: values}) for run, values in self.runs.items())
        yield from (Batch(events=[values]) for values in self.events)


def is_of_a_row(error: Exception) -> bool:
    """Whether the error is due to the data itself and not to the disk, so that a retry would fail too."""
    if not isinstance(error, sqlite3.Error):
        return True
    return isinstance(
        error, sqlite3.DataError | sqlite3.IntegrityError | sqlite3.InterfaceError | sqlite3.ProgrammingError
    )


class StateWriter:
    """The writing connection. Raises sqlite3.Error."""

    def __init__(self, path: Path, keep: Keep) -> None:
        self.connection: sqlite3.Connection = connect(path)
        self._keep = keep
        self._next_age_check = 0.0
        self._next_trim = 0  # the event id from which to trim again

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def load(self, moved: Path | None) -> Loaded:
        """Load everything a new supervisor starts from. `moved`: where a damaged database was moved, if any."""
        runs = schema.read_runs(self.connection.execute(*schema.select_current_runs()).fetchall())
        (last_event,) = self.connection.execute("SELECT max(id) FROM event").fetchone()
        # Panes, spool and logs may still carry run ids of a lost database: the clock is above them all.
        floor = int(time.time()) if moved else 0
        return Loaded(
            tasks=schema.read_tasks(self.connection),
            runs={run.id: run for run in runs},
            next_run=max((run.id for run in runs), default=floor) + 1,
            next_event=(last_event or floor) + 1,
            moved_aside=moved,
        )

    def write(self, batch: Batch) -> None:
        """Write the batch in one transaction, or nothing of it."""
        with self._transaction():
            self._put(batch)
            self._trim(batch)

    def write_what_can_be(self, batch: Batch) -> list[str]:
        """Write the batch without the rows that can never be written; returns these, each with its error."""
        refused = []
        with self._transaction():
            for row in batch.apart():
                try:
                    self._put(row)
                except Exception as error:
                    if not is_of_a_row(error):
                        raise
                    refused.append(f"{row.tasks or row.runs or row.events!r}: {error!r}")
        return refused

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        writer = self.connection
        writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            writer.execute("COMMIT")
        except BaseException:  # whatever it is: all or nothing
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise

    def _put(self, batch: Batch) -> None:
        writer, tasks = self.connection, batch.tasks.items()
        if stored := [(name, schema.encoded(data)) for name, data in tasks if data is not None]:
            writer.executemany(schema.PUT_TASK, stored)
        if forgotten := [(name,) for name, data in tasks if data is None]:
            writer.executemany(schema.FORGET_TASK, forgotten)
        if batch.runs:
            writer.executemany(schema.PUT_RUN, list(batch.runs.values()))
        if batch.events:
            writer.executemany(schema.PUT_EVENT, batch.events)

    def _trim(self, batch: Batch) -> None:
        """Delete a step of what exceeds the limits: old events, and old runs of the tasks whose runs just ended."""
        if batch.events and self._keep.events is not None and batch.events[-1][0] >= self._next_trim:
            last = batch.events[-1][0]
            self.connection.execute(
                "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id <= ? ORDER BY id LIMIT ?)",
                (last - self._keep.events, max(TRIM_STEP, 2 * len(batch.events))),
            )
            self._next_trim = last + TRIM_EVERY
        now = time.time()
        if self._keep.events_age is not None and now >= self._next_age_check:
            deleted = self.connection.execute(
                "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE ts < ? ORDER BY ts LIMIT ?)",
                (now - self._keep.events_age, TRIM_STEP),
            )
            self._next_age_check = 0.0 if deleted.rowcount == TRIM_STEP else now + AGE_CHECK
        if ended := {values[1] for values in batch.runs.values() if values[schema.RUN_ENDED_AT] is not None}:
            self.connection.executemany(schema.TRIM_RUNS, [(task, self._keep.runs) for task in ended])
