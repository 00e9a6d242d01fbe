"""What the ingest does in addition to storing: retention, giving back space, and the plain text files.

All of it runs in small steps between two turns: no step takes longer than a few milliseconds, so incoming
output is never held up.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field

from paneview.store.limits import LogLimits
from paneview.store.spool import Key, end_of
from paneview.store.stream import NEVER, Stream
from paneview.store.textlog import TextLog
from paneview.store.writer import LogWriter, TaskLog

TRIM_STEP = 16  # chunks deleted at most per turn and task: 2 ms
IDLE_TRIM_STEP = 64
TEXT_RETRY = 30.0  # seconds until a text file that cannot be written is retried
AGE_CHECK = 30.0  # seconds between two checks for chunks that are too old
VACUUM_STEP = 256  # pages given back to the file system at most per round: 5 ms
VACUUM_FROM = 1024  # unused pages to keep: the next chunks need them
NO_LIMITS = LogLimits(max_bytes=None)


class Note(Struct, frozen=True):
    """Lines that do not come from the pipe, and the place in a run's spool after which they belong."""

    run: int
    data: bytes
    ts: float
    place: tuple[Key, int]
    behind: int
    """The run of that place: a later one than its own, if that has printed something in the meantime."""


class TaskState(Struct):
    """What the ingest knows of a task apart from its numbering."""

    name: str
    streams: list[Stream] = []  # by run
    notes: deque[Note] = field(default_factory=deque)
    limits: LogLimits = NO_LIMITS
    trimming: bool = True  # there may be chunks to delete
    text: TextLog | None = None
    text_behind: bool = True
    text_retry: float = 0.0  # monotonic: when to try again to write the text file
    stored_end: int = 0  # one past the newest line in the database

    def limit(self, limits: LogLimits) -> None:
        """Apply these limits from now on."""
        if limits.text != self.limits.text:
            self.close_text()
            self.text_behind, self.text_retry = True, 0.0
        self.limits, self.trimming = limits, True

    def append(self, run: int, data: bytes, ts: float, place: tuple[Key, int]) -> None:
        """Append whole lines behind the run's output up to `place`, or behind a later run's up to now.

        What a later run has printed has its numbers already.
        """
        last = max(self.streams, key=lambda stream: stream.run, default=None)
        behind = run
        if last is not None and last.run > run:
            behind, place = last.run, end_of(last.files.folder, last.run)
        whole = data if data.endswith(b"\n") else data + b"\n"
        self.notes.append(Note(run, whole, ts, place, behind))

    def is_due(self, now: float) -> bool:
        """Whether something must be stored by `now` (monotonic); with `NEVER`, whether there is anything to store."""
        if self.notes or any(stream.store_by <= now < NEVER for stream in self.streams):
            return True
        # What a run has printed must be stored before anything of the next one.
        return any(stream.seen for stream in self.streams[:-1]) or (
            now == NEVER and any(stream.dirty or stream.store_by < NEVER for stream in self.streams)
        )

    def seen_end(self, task: TaskLog) -> tuple[int, bool]:
        """The line after the last whole one, stored or only seen, and whether an unfinished line follows."""
        line, inside = task.next, task.part > 0
        holder = (task.run, task.segment)
        for stream in self.streams:
            if stream.seen:
                if inside and holder != (stream.run, stream.segment):
                    line += 1
                line, inside = line + stream.seen_lines, stream.seen_open
                holder = (stream.run, stream.segment)
        return line, inside

    def close_text(self) -> None:
        """Close the text file, if there is one."""
        if self.text is not None:
            self.text.close()
            self.text = None


class Upkeep:
    """Works on the writer's connection, between two turns."""

    def __init__(self, database: sqlite3.Connection, writer: LogWriter) -> None:
        self._db = database
        self._writer = writer
        self._next_age_check = 0.0
        self.complaints: list[str] = []

    def trim(self, state: TaskState, task: TaskLog, limit: int = TRIM_STEP) -> None:
        """Delete up to `limit` chunks beyond the task's limits. Call it inside a transaction."""
        oldest = None if state.limits.max_age is None else time.time() - state.limits.max_age
        state.trimming = self._writer.trim(task, state.limits.max_bytes, oldest, limit) == limit

    def round(self, states: Iterable[TaskState], now: float) -> bool:
        """Do a step of trimming and vacuuming; return whether there is more to do."""
        more = False
        aging = now >= self._next_age_check
        if aging:
            self._next_age_check = now + AGE_CHECK
        for state in states:
            if state.trimming or (aging and state.limits.max_age is not None):
                with self._writer.transaction():
                    self.trim(state, self._writer.task(state.name), IDLE_TRIM_STEP)
                more = more or state.trimming
        return self._vacuum() or more

    def write_texts(self, states: Iterable[TaskState], now: float) -> bool:
        """Write a step of every text file that lags behind; return whether there is more.

        Failures are added to `complaints`.
        """
        more = False
        for state in states:
            if state.limits.text is None or not state.text_behind or now < state.text_retry:
                continue
            try:
                if state.text is None:
                    state.text = TextLog(self._db, self._writer.task(state.name).id, state.limits.text)
                state.text_behind = state.text.step()
            except OSError as error:
                state.close_text()
                if not state.text_retry:
                    self.complaints.append(f"cannot write {state.limits.text.path}: {error}")
                state.text_retry = now + TEXT_RETRY
            else:
                state.text_retry = 0.0
                more = more or state.text_behind
        return more

    def _vacuum(self) -> bool:
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        if free <= VACUUM_FROM:
            return False
        self._db.execute(f"PRAGMA incremental_vacuum({min(VACUUM_STEP, free - VACUUM_FROM)})").fetchall()
        return True
