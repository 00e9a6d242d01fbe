"""Putting bytes into ``logs.db``: numbering, chunks that grow and merge, and the deletion of old ones.

A slow task's lines first extend its last chunk, up to 4 KB: one page is written for a line, whatever its
length. Such small chunks are merged once they add up to 32 KB, inside the transaction that added the last
of them, so each byte is copied twice in its life and no clean-up job is needed. A flooding task's chunks
are full at once. Where lines have a maximum age, a chunk is closed after a share of that age, because it is
deleted as a whole once its last line is too old.

Call methods that write inside a `transaction`. If it fails, the cached tasks are dropped and read again, so
memory never runs ahead of the database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from math import floor

from msgspec import Struct

from paneview.store.chunks import CHUNK, Step, cut, pack_times, unpack_times
from paneview.store.spool import Key

GROW = 4 * 1024  # a last chunk this small is extended in place
SMALL = 32 * 1024  # smaller chunks are merged once they add up to this
NOTE = -1  # the segment of lines that do not come from a pipe


class When(Struct, frozen=True):
    """When bytes came: (offset, epoch seconds) marks, each for the bytes from that offset on; the first is at 0.

    With `approx_until`, all of them came at some time between the first mark and that time.
    """

    marks: tuple[tuple[int, float], ...]
    approx_until: float | None = None

    @classmethod
    def at(cls, ts: float) -> When:
        """All bytes at one time."""
        return cls(((0, ts),))

    def piece(self, begin: int, end: int, size: int) -> When:
        """The times of the bytes from `begin` to `end` out of `size`."""
        if self.approx_until is not None:
            first, span = self.marks[0][1], self.approx_until - self.marks[0][1]
            return When(((0, first + span * begin / size),), first + span * end / size)
        if len(self.marks) == 1:
            return self
        inside = [(offset - begin, ts) for offset, ts in self.marks if begin < offset < end]
        before = [ts for offset, ts in self.marks if offset <= begin]
        return When(((0, before[-1]), *inside))


class Tail(Struct):
    """A small chunk at the end of a task's log that may still grow or be merged."""

    id: int
    run: int
    lines: int
    size: int
    first_ts: float
    last_ts: float
    approx: bool
    whole: bool  # ends with a newline
    steps: list[Step]
    body: bytes | None  # kept while it may grow
    packed: bytes = b""  # the first of the steps, packed
    packed_steps: int = 1

    def pack_times(self) -> bytes | None:
        """All steps, packed. A log that grows line by line would have the same ones packed again and again."""
        self.packed += pack_times(self.steps[self.packed_steps - 1 :]) or b""
        self.packed_steps = len(self.steps)
        return self.packed or None


class TaskLog(Struct):
    """Where a task's numbering stands; mirrors its row."""

    id: int
    name: str
    first: int
    next: int
    part: int
    run: int | None
    segment: int | None
    bytes: int
    tail: list[Tail] = []
    span: float | None = None
    """Seconds at most between the first and last line of a grown or merged chunk, which is deleted as a whole."""

    @property
    def end(self) -> int:
        """One past the newest stored line, counting one still without newline."""
        return self.next + (1 if self.part else 0)


class RunState(Struct, frozen=True):
    """How far a run has been stored."""

    id: int
    task: str
    key: Key
    offset: int
    segment: int
    finished: bool


class LogWriter:
    """Writes ``logs.db`` through its only writing connection, and caches where each task stands."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._tasks: dict[str, TaskLog] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction: all or nothing, in the database and in memory."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._tasks.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def task(self, name: str) -> TaskLog:
        """The task of this name, created if new."""
        if (task := self._tasks.get(name)) is None:
            self._db.execute("INSERT OR IGNORE INTO task (name) VALUES (?)", (name,))
            row = self._db.execute(
                "SELECT id, name, first, next, part, run, segment, bytes FROM task WHERE name = ?", (name,)
            ).fetchone()
            task = self._tasks[name] = TaskLog(*row)
            task.tail = self._load_tail(task)
        return task

    def task_names(self) -> list[str]:
        """The names of all tasks in the database."""
        return [name for (name,) in self._db.execute("SELECT name FROM task ORDER BY id")]

    def last_run(self) -> int:
        """The highest number of all runs in the database; 0 without any."""
        (found,) = self._db.execute("SELECT max(id) FROM run").fetchone()
        return int(found or 0)

    def run_state(self, run: int) -> RunState | None:
        """How far this run has been stored; None if it was never opened."""
        row = self._db.execute(
            "SELECT name, attach, file, offset, run.segment, finished FROM run JOIN task ON task.id = run.task "
            "WHERE run.id = ?",
            (run,),
        ).fetchone()
        if row is None:
            return None
        name, attach, number, offset, segment, finished = row
        return RunState(run, name, (attach, number), offset, segment, bool(finished))

    def open_run(self, run: int, task: str) -> RunState:
        """The run's state, created if new. A finished run is reopened, since it may get more bytes after all."""
        self.note_run(run, self.task(task))
        self._db.execute("UPDATE run SET finished = 0 WHERE id = ? AND finished", (run,))
        state = self.run_state(run)
        assert state is not None
        return state

    def note_run(self, run: int, task: TaskLog) -> None:
        """Make sure that the run has a row; a new one is marked finished, since it has no spool unless attached."""
        self._db.execute("INSERT OR IGNORE INTO run (id, task, finished) VALUES (?, ?, 1)", (run, task.id))

    def finish_all_but(self, runs: Collection[int]) -> None:
        """Mark all other runs as finished: they have nothing left in the spool."""
        unfinished = self._db.execute("SELECT id FROM run INDEXED BY run_not_finished WHERE finished = 0")
        over = [(run,) for (run,) in unfinished.fetchall() if run not in runs]
        self._db.executemany("UPDATE run SET finished = 1 WHERE id = ?", over)

    def last_time(self, task: TaskLog) -> float | None:
        """When the newest stored line of the task came, epoch seconds; None without lines."""
        row = self._db.execute(
            "SELECT last_ts FROM chunk WHERE task = ? ORDER BY first DESC, part DESC LIMIT 1", (task.id,)
        ).fetchone()
        return None if row is None else float(row[0])

    def begin_at(self, name: str, line: int) -> None:
        """Number a new task's lines from this one on: earlier lines were lost with a damaged database."""
        task = self.task(name)
        task.first = task.next = line
        self._store(task)

    def set_position(self, run: int, key: Key, offset: int, segment: int, *, finished: bool = False) -> None:
        """Record that everything of the run's spool before this position is stored."""
        self._db.execute(
            "UPDATE run SET attach = ?, file = ?, offset = ?, segment = ?, finished = ? WHERE id = ?",
            (*key, offset, segment, finished, run),
        )

    def add(self, task: TaskLog, run: int, segment: int, data: bytes, when: When) -> None:
        """Append bytes; they continue an unfinished line only if the same run and segment wrote it."""
        if task.part and (task.run, task.segment) != (run, segment):
            task.next, task.part = task.next + 1, 0
        task.run, task.segment = run, segment
        first, done = task.next, 0
        for body in cut(data):
            self._add_piece(task, body, when.piece(done, done + len(body), len(data)))
            done += len(body)
        self._db.execute(
            "UPDATE run SET first = coalesce(first, ?), next = ? WHERE id = ?", (first, task.end, run)
        )
        self._store(task)

    def clean(self, task: TaskLog) -> None:
        """Mark all the task's lines as gone; `trim` deletes them in steps. Numbering continues."""
        task.next, task.part, task.tail = task.end, 0, []
        task.first = task.next
        self._store(task)

    def trim(self, task: TaskLog, max_bytes: int | None, oldest: float | None, limit: int) -> int:
        """Delete up to `limit` of the oldest chunks: cleaned, beyond `max_bytes`, or older than `oldest`.

        Returns how many were deleted; fewer than `limit` means that nothing is left to delete.
        """
        rows = self._db.execute(
            "SELECT first, part, last_ts, size, id FROM chunk WHERE task = ? ORDER BY first, part LIMIT ?",
            (task.id, limit + 1),
        ).fetchall()
        gone: list[int] = []
        for first, _, last_ts, size, number in rows[:limit]:
            too_much = max_bytes is not None and task.bytes > max(max_bytes, size)
            too_old = oldest is not None and last_ts < oldest
            if not (first < task.first or too_much or too_old):
                break
            gone.append(number)
            task.bytes -= size
        if not gone:
            return 0
        task.first = max(task.first, rows[len(gone)][0] if len(gone) < len(rows) else task.next)
        task.tail = [tail for tail in task.tail if tail.id not in gone]
        self._db.executemany("DELETE FROM chunk WHERE id = ?", [(number,) for number in gone])
        self._db.execute(
            "DELETE FROM run WHERE task = ? AND finished AND coalesce(next, 0) <= ?", (task.id, task.first)
        )
        self._store(task)
        return len(gone)

    def _store(self, task: TaskLog) -> None:
        self._db.execute(
            "UPDATE task SET first = ?, next = ?, part = ?, run = ?, segment = ?, bytes = ? WHERE id = ?",
            (task.first, task.next, task.part, task.run, task.segment, task.bytes, task.id),
        )

    def _add_piece(self, task: TaskLog, body: bytes, when: When) -> None:
        newlines = body.count(b"\n")
        piece = _as_tail(task, body, newlines, when)
        if task.tail and not _joins(task.tail[-1], piece, task.part):
            task.tail.clear()
        if task.span is not None:
            # Tails are in order of time, so the oldest are the ones left as they are.
            task.tail = [tail for tail in task.tail if piece.last_ts - tail.first_ts <= task.span]
        gathered = sum(tail.size for tail in task.tail)
        if task.tail and SMALL <= gathered + piece.size <= CHUNK:
            self._merge(task, piece)
        elif task.tail and task.tail[-1].size + piece.size <= GROW:
            self._extend(task, piece)
        else:
            self._insert(task, piece, task.next, task.part)
            if piece.size >= SMALL:
                task.tail.clear()
            else:
                _forget_body(task.tail)
                task.tail.append(piece)
        task.bytes += len(body)
        if newlines:
            task.next += newlines
            task.part = len(body) - 1 - body.rfind(b"\n")
        else:
            task.part += len(body)

    def _insert(self, task: TaskLog, piece: Tail, first: int, part: int) -> None:
        cursor = self._db.execute(
            "INSERT INTO chunk (task, run, first, part, lines, first_ts, last_ts, approx, size, times, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(task.id, piece.run, first, part, piece.lines, piece.first_ts, piece.last_ts, piece.approx),
                *(piece.size, piece.pack_times(), piece.body),
            ),
        )
        piece.id = cursor.lastrowid or 0
        if piece.size > GROW:
            piece.body = None

    def _extend(self, task: TaskLog, piece: Tail) -> None:
        tail = task.tail[-1]
        _append(tail, piece, task.part)
        assert tail.body is not None
        self._db.execute(
            "UPDATE chunk SET lines = ?, last_ts = ?, size = ?, times = ?, body = ? WHERE id = ?",
            (tail.lines, tail.last_ts, tail.size, tail.pack_times(), tail.body, tail.id),
        )

    def _merge(self, task: TaskLog, piece: Tail) -> None:
        """Merge the small chunks at the end and this piece into one chunk."""
        parts: list[bytes] = []
        first, part = task.next, task.part
        for tail in task.tail:
            row = self._db.execute("SELECT first, part, body FROM chunk WHERE id = ?", (tail.id,)).fetchone()
            if not parts:
                first, part = row[0], row[1]
            parts.append(row[2])
            self._db.execute("DELETE FROM chunk WHERE id = ?", (tail.id,))
        assert piece.body is not None
        whole = task.tail[0]
        whole.body = b""
        for index, tail in enumerate(task.tail[1:], 1):
            _append(whole, tail, 0 if task.tail[index - 1].whole else 1)
        _append(whole, piece, task.part)
        whole.body = b"".join([*parts, piece.body])
        self._insert(task, whole, first, part)
        task.tail.clear()

    def _load_tail(self, task: TaskLog) -> list[Tail]:
        rows = self._db.execute(
            "SELECT id, run, lines, size, first_ts, last_ts, approx, substr(body, -1) = x'0a', times, part, "
            "CASE WHEN size <= ? THEN body END FROM chunk WHERE task = ? AND first >= ? "
            "ORDER BY first DESC, part DESC LIMIT ?",
            (GROW, task.id, task.first, 2 * SMALL // GROW + 1),
        )
        found: list[Tail] = []
        part_after = task.part
        for number, run, lines, size, first_ts, last_ts, approx, whole, times, part, body in rows:
            tail = Tail(
                *(number, run, lines, size, first_ts, last_ts, bool(approx), bool(whole)),
                unpack_times(times),
                body if not found else None,
            )
            if tail.size >= SMALL or (found and not _joins(tail, found[-1], part_after)):
                break
            found.append(tail)
            part_after = part
        found.reverse()
        return found


def _as_tail(task: TaskLog, body: bytes, newlines: int, when: When) -> Tail:
    assert task.run is not None
    first_ts = last_ts = when.marks[0][1]
    approx = when.approx_until is not None
    steps = [(0, 0)]
    whole = body.endswith(b"\n")
    if when.approx_until is not None:
        last_ts = when.approx_until
    for offset, ts in when.marks[1:]:
        # From the first line that begins at this offset or after it.
        line = body.count(b"\n", 0, offset) + (body[offset - 1] != 0x0A)
        ms = floor((ts - first_ts) * 1000)  # rounded down, so that order is kept
        if line > newlines - whole or ms == steps[-1][1]:
            continue
        if line == steps[-1][0]:
            steps.pop()
        steps.append((line, ms))
        last_ts = max(last_ts, ts)
    return Tail(0, task.run, newlines, len(body), first_ts, last_ts, approx, whole, steps, body)


def _joins(tail: Tail, piece: Tail, part: int) -> bool:
    """Whether the piece's bytes may directly follow the tail's in one body."""
    same = tail.run == piece.run and tail.approx == piece.approx and piece.first_ts >= tail.first_ts
    return same and (part > 0 or tail.whole)


def _append(tail: Tail, piece: Tail, part: int) -> None:
    """Append the piece to the tail. With `part`, its first line continues the tail's last one."""
    shift = floor((piece.first_ts - tail.first_ts) * 1000)
    for line, ms in piece.steps:
        if (line or not part) and ms + shift != tail.steps[-1][1]:
            tail.steps.append((tail.lines + line, ms + shift))
    if tail.body is not None and piece.body is not None:
        tail.body += piece.body
    tail.lines += piece.lines
    tail.size += piece.size
    tail.last_ts = max(tail.last_ts, piece.last_ts)
    tail.whole = piece.whole


def _forget_body(tails: list[Tail]) -> None:
    for tail in tails:
        tail.body = None
