"""The transactions of ``state.db``, for the one thread that the state store has. Everything here blocks.

A transaction is one trip to that thread: going there and back for each statement, and waiting for the interpreter's
lock each time, cost three times what SQLite does.
"""

from __future__ import annotations

import asyncio
import json
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
TRIM_EVERY = 100  # events: so many more than the limit may be kept
AGE_CHECK = 60.0  # seconds between two looks for events that are too old
MAX_QUEUED_EVENTS = 50_000  # kept in memory while nothing can be written; beyond that the oldest go


class Keep(Struct, frozen=True):
    """How much history to keep. None: no limit of that kind."""

    events: int | None = 200_000
    events_age: float | None = None  # seconds
    runs: int = 1_000  # per task


class Batch(Struct):
    """Changes on their way into one transaction: the last state of each key wins, events add up."""

    tasks: dict[str, Mapping[str, Any] | None] = {}
    runs: dict[int, tuple[Any, ...]] = {}
    events: list[tuple[Any, ...]] = []
    waiting: list[asyncio.Future[None]] = []
    dropped: int = 0
    """How many events were too many to wait."""

    def add(self, change: Change) -> asyncio.Future[None]:
        """Have a change written with this transaction; what its maker may wait for, as all others' do."""
        for name, data in change.tasks.items():
            self.tasks.pop(name, None)
            self.tasks[name] = data
        self.runs.update((run.id, schema.run_values(run)) for run in change.runs)
        self.events.extend(map(schema.event_values, change.events))
        if not self.waiting:
            self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[0]

    def join(self, later: Batch) -> None:
        """Take in what has gathered since."""
        self.tasks.update(later.tasks)
        self.runs.update(later.runs)
        self.events.extend(later.events)
        self.dropped += later.dropped + max(0, len(self.events) - MAX_QUEUED_EVENTS)
        del self.events[:-MAX_QUEUED_EVENTS]
        self.waiting.extend(later.waiting)

    def apart(self) -> Iterator[Batch]:
        """Each row for itself."""
        yield from (Batch(tasks={name: data}) for name, data in self.tasks.items())
        yield from (Batch(runs={run: values}) for run, values in self.runs.items())
        yield from (Batch(events=[values]) for values in self.events)


def is_of_a_row(error: Exception) -> bool:
    """Whether what was to be written is at fault, and not the disk: it fails however often it is tried."""
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
        self._next_trim = 0  # the event after which those beyond the limit are looked for again

    def close(self) -> None:
        """Let go of the database."""
        self.connection.close()

    def load(self, moved: Path | None) -> Loaded:
        """Everything a new supervisor starts from. ``moved``: where a damaged database went."""
        tasks = self.connection.execute("SELECT name, data FROM task").fetchall()
        runs = schema.read_runs(self.connection.execute(schema.select_current_runs()).fetchall())
        (last_event,) = self.connection.execute("SELECT max(id) FROM event").fetchone()
        # Panes, spool and logs may carry run ids that a lost database knew: the clock is above them all.
        floor = int(time.time()) if moved else 0
        return Loaded(
            tasks={name: json.loads(data) for name, data in tasks},
            runs={run.id: run for run in runs},
            next_run=max((run.id for run in runs), default=floor) + 1,
            next_event=(last_event or floor) + 1,
            moved_aside=moved,
        )

    def write(self, batch: Batch) -> None:
        """One transaction: all of it or nothing."""
        with self._transaction():
            self._put(batch)
            self._trim(batch)

    def write_what_can_be(self, batch: Batch) -> list[str]:
        """One transaction without the rows that cannot be written; these, and why."""
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
        except BaseException:  # whatever it was: all of it or nothing
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
        """Delete a step of what is beyond the limits: old events by their ids, old runs of the tasks just written."""
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
