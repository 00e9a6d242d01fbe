"""Reading logs, from any process and at any time, whether a supervisor is running or not.

The connection is read-only and never checkpoints. Lines still in the spool are included, under the numbers
they will have. A missing database reads as an empty one; after a database was moved aside, its successor is
read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from msgspec import Struct

from paneview.store.database import StoreError, connect_read_only
from paneview.store.known import Known, nobody_knows
from paneview.store.pieces import Piece
from paneview.store.snapshot import TaskLines

MAX_BYTES = 16 * 1024  # of a line, by default


class Line(NamedTuple):
    """One line as it left the terminal, without its newline."""

    task: str
    run: int
    number: int
    ts: float  # epoch seconds
    approx: bool  # the time is bracketed, not measured: shown with ~
    raw: bytes
    cut: int = 0  # bytes left out at its end
    match: bool = True  # False: context of a match


class RunSpan(Struct, frozen=True):
    """The lines of a run: from `first` up to, not including, `end`."""

    run: int
    first: int
    end: int


class LogReader:
    """Reads ``logs.db`` and the spool beyond it. One thread at a time; each call sees the current state.

    All methods raise `StoreError` if the database cannot be read.
    """

    def __init__(self, path: Path, spool_dir: Path, known: Known = nobody_knows) -> None:
        self._path = path
        self._folder = spool_dir
        self._known = known
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._lines: dict[str, TaskLines] = {}

    def tasks(self) -> list[str]:
        """Every task with a log, in the order of their first output."""
        return [name for (name,) in self._rows("SELECT name FROM task ORDER BY id")]

    def end(self, task: str) -> int:
        """One past the newest line; 0 for a task without log."""
        return self.bounds(task)[1]

    def first(self, task: str) -> int:
        """The oldest line that still exists."""
        return self.bounds(task)[0]

    def bounds(self, task: str) -> tuple[int, int]:
        """`first` and `end`, taken at the same moment."""
        lines = self.lines_of(task)
        return lines.bounds() if lines else (0, 0)

    def runs(self, task: str) -> list[RunSpan]:
        """The runs that have lines, oldest first."""
        lines = self.lines_of(task)
        return [RunSpan(*span) for span in lines.runs()] if lines else []

    def lines(self, task: str, first: int, count: int, *, max_bytes: int = MAX_BYTES) -> list[Line]:
        """Up to `count` lines from this number on, or from the oldest that exists; each at most `max_bytes`."""
        found: list[Line] = []
        source = self.lines_of(task)
        if source is None or count <= 0:
            return found
        for piece in source.forward(first):
            begin = found[0].number if found else piece.first
            found += split(task, piece, begin, begin + count, max_bytes)
            if len(found) >= count:
                break
        return found

    def tail(self, task: str, count: int, *, max_bytes: int = MAX_BYTES) -> list[Line]:
        """The newest `count` lines."""
        first, end = self.bounds(task)
        begin = max(first, end - count)
        return self.lines(task, begin, end - begin, max_bytes=max_bytes)

    def lines_of(self, task: str) -> TaskLines | None:
        """The source of the task's pieces, for searches; None for a task without log."""
        database = self._connect()
        if database is None:
            return None
        if (lines := self._lines.get(task)) is None:
            row = self._rows("SELECT id FROM task WHERE name = ?", (task,))
            if not row:
                return None
            lines = self._lines[task] = TaskLines(database, self._folder, row[0][0], self._known)
        return lines

    def close(self) -> None:
        """Close the connection."""
        for lines in self._lines.values():
            lines.close()
        self._lines.clear()
        if self._db is not None:
            self._db.close()
            self._db = None

    def __enter__(self) -> LogReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> sqlite3.Connection | None:
        """The connection to the current database; None if there is none."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        if self._db is not None and self._inode == (found.st_dev, found.st_ino):
            return self._db
        self.close()
        database = connect_read_only(self._path)
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                database.close()  # still being created
                return None
        except sqlite3.Error as error:
            database.close()
            raise StoreError(f"cannot read {self._path}: {error}") from error
        self._db, self._inode = database, (found.st_dev, found.st_ino)
        return database

    def _rows(self, statement: str, values: Collection[object] = ()) -> list[tuple[Any, ...]]:
        database = self._connect()
        if database is None:
            return []
        try:
            return database.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}") from error


def split(task: str, piece: Piece, first: int, end: int, max_bytes: int) -> Iterator[Line]:
    """The piece's lines from `first` up to, not including, `end`."""
    stop = min(end, piece.end)
    raws = piece.body.split(b"\n", max(stop - piece.first, 0))
    fixed = piece.fixed_time() if not piece.dropped else None
    for number in range(max(first, piece.first), stop):
        raw = raws[number - piece.first]
        if fixed is not None and len(raw) <= max_bytes:
            yield Line(task, piece.run, number, *fixed, raw)
        else:
            yield make_line(task, piece, number, raw, max_bytes)


def make_line(task: str, piece: Piece, number: int, raw: bytes, max_bytes: int) -> Line:
    """A line of a piece, cut to `max_bytes`: its newest redraw if it redraws itself, else its beginning."""
    ts, approx = piece.when(number)
    whole = len(raw)
    if whole > max_bytes:
        redrawn = raw.find(b"\r", whole - max_bytes, whole - 2) + 1
        raw = raw[redrawn:] if redrawn else raw[:max_bytes]
    return Line(task, piece.run, number, ts, approx, raw, whole - len(raw) + piece.dropped.get(number, 0))
