"""What the ingest thread does, without the thread: one bounded step at a time.

Call every public method from the ingest thread only. Methods that write raise sqlite3.Error on failure;
nothing has then changed, neither in the database nor here, and the call can be retried.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from paneview.store import log_schema, spool
from paneview.store.closing import Drains, look_for_writers
from paneview.store.database import connect, move_aside, prepare
from paneview.store.intake import Intake
from paneview.store.known import KnownTimes
from paneview.store.limits import LogLimits
from paneview.store.spool import Key
from paneview.store.storing import Portion, Storing
from paneview.store.stream import BLOCK, NEVER, Stream, keep_within
from paneview.store.upkeep import Upkeep
from paneview.store.writer import LogWriter, RunState

TURN = 2 * 1024 * 1024  # bytes in one transaction, of all tasks
WAL_PAGES = 2048  # checkpoint at 16 MB
STALLED = 2.5  # seconds without a turn: the process was stopped, and cannot know when bytes came
GATHER = 0.25  # seconds; what falls due within this time is stored along with what is due now


class Attachment(Struct, frozen=True):
    """A run's task, what to keep of its output (None: as before), and when (epoch) a new run was announced."""

    run: int
    task: str
    limits: LogLimits | None = None
    announced: float | None = None


class IngestEngine:
    """Streams, notes and limits of all tasks, and the writer they share."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._torn = False  # a damaged database was moved aside, and there is no new one yet
        self._intakes: dict[str, Intake] = {}  # in the order in which they are served
        self._streams: dict[int, Stream] = {}
        self._drains = Drains()
        self._grown: set[str] = set()  # tasks with news
        self._turned_at: float | None = None  # epoch
        # New end lines by task, also where only the last line grew; the thread collects them.
        self.heads: dict[str, int] = {}
        self.last_run = 0  # the highest number of a run in the database when it was opened
        self.known: dict[int, KnownTimes | None] = {}  # by run; read by any thread
        self.watched = False  # somebody wants to see output as it comes; set by any thread
        self.unfinished: set[str] = set()  # tasks whose last line has no newline yet; read by any thread

    # Opening and closing

    def open(self) -> Path | None:
        """Open the database; return where a damaged one was moved, if any. Raises `StoreError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        moved = prepare(self._path, log_schema.MIGRATIONS, pragmas=log_schema.PRAGMAS)
        self._connect()
        # If it is damaged after all, it will be moved aside with all its runs.
        with suppress(sqlite3.Error):
            self.last_run = self._writer.last_run()
        return moved

    def resume(self) -> None:
        """Continue with every known run that has files in the spool, and tell where all logs end."""
        waiting = sorted(spool.files(self._folder))
        with self._writer.transaction():
            self._writer.finish_all_but(waiting)
        for run in waiting:
            if (state := self._writer.run_state(run)) is not None:
                self.attach(Attachment(run, state.task))
                if state.finished:
                    self.finish(run)
        self._grown.update(self._writer.task_names())

    def _connect(self) -> None:
        self._db = connect(self._path)
        self._db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        self._writer = LogWriter(self._db)
        self._upkeep = Upkeep(self._db, self._writer)
        self._storing = Storing(self._writer, self._upkeep)

    def begin_anew(self) -> Path:
        """Move a damaged database aside and continue in a new one with the same numbers and positions."""
        for intake in self._intakes.values():
            intake.close_text()
        self._db.close()
        moved, self._torn = move_aside(self._path), True
        self.mend()
        return moved

    def mend(self) -> None:
        """Create the new database, if a damaged one was moved aside and creating another has failed so far.

        Raises sqlite3.Error, StoreError or OSError if it fails again.
        """
        if not self._torn:
            return
        self._db.close()
        prepare(self._path, log_schema.MIGRATIONS, pragmas=log_schema.PRAGMAS)
        self._connect()
        with self._writer.transaction():
            for intake in self._intakes.values():
                self._writer.begin_at(intake.name, intake.stored_end)
            for stream in self._streams.values():
                self._writer.open_run(stream.run, stream.task)
                self._writer.set_position(stream.run, stream.key, stream.offset, stream.segment)
        self._torn = False

    def close(self) -> None:
        """Close the connection; the next ingest finds the streams again."""
        for stream in self._streams.values():
            stream.files.close()
        for intake in self._intakes.values():
            intake.close_text()
        self._drains.cancel()
        self._db.close()

    # Commands

    def attach(self, *attachments: Attachment) -> None:
        """Store each run's output for its task from now on, including what is already in the spool."""
        fresh: dict[int, Attachment] = {}
        for one in attachments:
            intake = self._intake(one.task)
            if one.limits is not None:
                self.set_limits(one.task, one.limits)
            if (present := self._streams.get(one.run)) is not None:
                present.closing = present.writerless = False
            else:
                fresh[one.run] = one
                intake.trimming = True
        if not fresh:
            return
        with self._writer.transaction():
            opened = [self._open_run(one) for one in fresh.values()]
        present_files = spool.files(self._folder)
        for one, (run, last_look, known) in zip(fresh.values(), opened, strict=True):
            keys = present_files.get(run.id, [])
            stream = Stream.resume(self._folder, run, keys, last_look, None if known else one.announced)
            self._streams[run.id] = stream
            owner = self._intake(run.task)
            owner.streams.append(stream)
            owner.streams.sort(key=lambda other: other.run)

    def _open_run(self, one: Attachment) -> tuple[RunState, float | None, bool]:
        """The run's state, when its task's newest stored line came (None for a new run), and whether it was known."""
        known = self._writer.run_state(one.run) is not None
        opened = self._writer.open_run(one.run, one.task)
        return opened, self._writer.last_time(self._writer.task(one.task)) if known else None, known

    def finish(self, run: int) -> None:
        """The run is over: store the rest once nothing can write to its spool any more."""
        if (stream := self._streams.get(run)) is not None and not stream.closing:
            stream.closing = True
            stream.check_at = stream.check_wait = 0.0
            stream.quiet_since = time.monotonic()

    def append(self, run: int, task: str, data: bytes, ts: float, place: tuple[Key, int]) -> None:
        """Append whole lines after what earlier runs have printed, and this one up to `place`."""
        self._intake(task).append(run, data, ts, place)

    def drained(self, run: int, done: Future[None]) -> None:
        """Resolve `done` when everything of the run is stored."""
        self._drains.add(run, done)
        if run not in self._streams:
            self._drains.resolve(run)

    def recover(self, runs: Mapping[int, str]) -> None:
        """Store what the spool holds of these finished runs. Some may already be in the database."""
        for run in sorted(spool.files(self._folder)):
            if run in runs:
                self.attach(Attachment(run, runs[run]))
                self.finish(run)

    def set_limits(self, task: str, limits: LogLimits) -> None:
        """Keep this much of the task from now on."""
        self._intake(task).limit(limits)

    def clean(self, task: str | None) -> None:
        """Forget the existing lines of a task, or of all (None). Readers no longer see them from now on."""
        for stream in [stream for stream in self._streams.values() if task in (None, stream.task)]:
            size, stream.dirty = stream.unread(), True
            while size > 0 and stream.dirty and stream.run in self._streams:
                self.turn(time.monotonic(), rush=True)
                size -= BLOCK
        with self._writer.transaction():
            names = self._writer.task_names() if task is None else [task]
            for name in names:
                self._writer.clean(self._writer.task(name))
        for name in names:
            self._intake(name).trimming = True
            self._tell(self._intake(name))

    # The loop's steps

    def mark(self, names: set[str] | None) -> None:
        """Note that these spool files have changed; None: any of them may have."""
        if names is None:
            for stream in self._streams.values():
                stream.dirty = True
            return
        for name in names:
            parsed = spool.parse_name(name)
            if parsed is not None and parsed[0] in self._streams:
                self._streams[parsed[0]].dirty = True

    def fell_behind(self, since: float) -> None:
        """Note that the spool went unwatched since then (epoch): its bytes came at some time after it."""
        for stream in self._streams.values():
            stream.dirty = True
            # A failed transaction may have taken its share of the bracket already.
            lower = stream.backlog.lower if stream.backlog else max(since, stream.last_look or since)
            stream.begin_backlog(lower)

    def next_due(self) -> float:
        """When (monotonic) there is something to do next; infinity if nothing is pending."""
        if any(intake.notes for intake in self._intakes.values()):
            return 0.0
        due = NEVER
        for stream in self._streams.values():
            due = min(due, stream.store_by)
            if stream.dirty:
                due = min(due, stream.next_look)
            elif stream.closing and not stream.writerless:
                due = min(due, stream.check_at)
        return due

    def pausing(self, now: float) -> bool:
        """Whether a file is known to have grown but must not be read yet."""
        return any(stream.dirty and stream.next_look > now for stream in self._streams.values())

    def has_work(self) -> bool:
        """Whether there are whole lines or notes to store, due or not."""
        return any(stream.dirty or stream.store_by < NEVER for stream in self._streams.values()) or any(
            intake.notes for intake in self._intakes.values()
        )

    def turn(self, now: float, *, rush: bool = False) -> None:
        """Read what is new and store a bounded step of what is due; with `rush` everything is due."""
        last, self._turned_at = self._turned_at, (wall := time.time())
        if last is not None and wall - last > STALLED:
            self.fell_behind(last)
        for stream in self._streams.values():
            if (
                stream.dirty
                and (rush or stream.next_look <= now)
                and stream.look(now, wall, watched=rush or self.watched)
            ):
                self._grown.add(stream.task)
                self.known[stream.run] = stream.known()
        if rush or any(intake.is_due(now) for intake in self._intakes.values()):
            self._store(now, NEVER if rush else now + GATHER, wall)
        while self._grown:
            self._tell(self._intake(self._grown.pop()))

    def _store(self, now: float, horizon: float, wall: float) -> None:
        staged: list[Portion] = []
        served: list[tuple[Intake, int]] = []
        size = 0
        with self._writer.transaction():
            for intake in [intake for intake in self._intakes.values() if intake.is_due(horizon)]:
                portions, notes = self._storing.store(intake, horizon, wall)
                size += sum(len(portion.taken.data) for portion in portions)
                staged += portions
                served.append((intake, notes))
                if size >= TURN:
                    break
        for portion in staged:
            self._stored(portion, now, wall)
        for intake, notes in served:
            for _ in range(notes):
                intake.notes.popleft()
            if notes:
                self._grown.add(intake.name)
            intake.stored_end, intake.text_behind = self._writer.task(intake.name).end, True
            self._intakes[intake.name] = self._intakes.pop(intake.name)  # to the end of the queue

    def check_writers(self, now: float) -> None:
        """Check whether finished runs still have a writer; those without one are stored to their end."""
        for run in look_for_writers(self._streams.values(), self._folder, now):
            self._drains.resolve(run)

    def housekeeping(self, now: float) -> bool:
        """Delete a step of what exceeds the limits and give back unused space; return whether there is more."""
        return self._upkeep.round(list(self._intakes.values()), now)

    def write_texts(self, now: float) -> bool:
        """Write a step of every text file that lags behind; return whether there is more."""
        return self._upkeep.write_texts(self._intakes.values(), now)

    def take_complaints(self) -> list[str]:
        """Messages for the user since the last call."""
        found, self._upkeep.complaints = self._upkeep.complaints, []
        return found

    def relieve(self, cap: int) -> None:
        """While nothing can be stored, keep the spool within `cap` bytes: drop the oldest file of the largest run."""
        keep_within(cap, self._streams.values())

    # Inside

    def _intake(self, task: str) -> Intake:
        return self._intakes.setdefault(task, Intake(task))

    def _stored(self, portion: Portion, now: float, wall: float) -> None:
        stream, taken = portion.stream, portion.taken
        if len(taken.data) + taken.rest > stream.counted:
            self._grown.add(stream.task)
        stream.stored(taken, now, wall)
        self.known[stream.run] = stream.known()
        if portion.finished:
            self.known.pop(stream.run, None)
            stream.files.remove_before(stream.key, inclusive=True)
            stream.files.close()
            del self._streams[stream.run]
            self._intakes[stream.task].streams.remove(stream)
            self._drains.resolve(stream.run)

    def _tell(self, intake: Intake) -> None:
        """Publish where the task's log ends, including lines that were seen but not stored yet."""
        line, inside = intake.seen_end(self._writer.task(intake.name))
        self.heads[intake.name] = line + inside
        if inside:
            self.unfinished.add(intake.name)
        else:
            self.unfinished.discard(intake.name)
