"""One task's lines as they are now: those in the database, then those still in the spool.

Reading goes in steps, each a short transaction of its own: a slow reader neither holds back the writer's
checkpoints nor sees chunks vanish under it. Between two steps chunks may merge or move from the spool into
the database; no line's number changes, and each step continues by line number.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from paneview.store.database import StoreError
from paneview.store.known import Known, nobody_knows
from paneview.store.overlay import Loose, Overlay, Stand
from paneview.store.pieces import Piece, Row, assemble

T = TypeVar("T")
MOST_CHUNKS = 16  # per step: a megabyte
TRIES = 20  # attempts at a step; one fails if the spool moved on during it
_COLUMNS = "run, first, part, lines, first_ts, last_ts, approx, times, body"


class Moved(Exception):  # noqa: N818 - not an error: try again
    """Spool bytes were stored and removed between reading the database and reading the spool."""


class Span(NamedTuple):
    """A span of time, epoch seconds; either end may be open."""

    since: float = float("-inf")
    until: float = float("inf")


EVER = Span()


class TaskLines:
    """The lines of one task. Shares its owner's connection. Without a folder the spool is ignored."""

    def __init__(
        self, database: sqlite3.Connection, folder: Path | None, task: int, known: Known = nobody_knows
    ) -> None:
        self._db = database
        self._task = task
        self._folder = folder
        self._overlay = Overlay(folder or Path(), known)

    def close(self) -> None:
        """Close the spool files."""
        self._overlay.close()

    def bounds(self) -> tuple[int, int]:
        """The number of the oldest line, and one past the newest."""
        return self._step(lambda first: (first, self._overlay.end))

    def whole_lines(self) -> tuple[int, int]:
        """The oldest stored line, and one past the newest that is complete."""
        first, stand = self._stand()
        return first, stand.next

    def runs(self) -> list[tuple[int, int, int]]:
        """The runs that have lines: run, oldest line, one past the newest."""
        return self._step(self._runs)

    def forward(self, line: int, span: Span = EVER, most: int = MOST_CHUNKS) -> Iterator[Piece]:
        """Pieces of the lines from this one on, oldest first, up to what is the newest when it is reached.

        That line may lack its newline and get it at once: another step would go on behind it, and it stay cut short.
        `most` bounds the chunks that are held in memory at a time.
        """
        count, more = 1, True
        while more:
            pieces, more = self._step(partial(self._after, line, count, span))
            line, count = pieces[-1].end if pieces else line, min(count * 2, most)
            yield from _one_by_one(pieces)

    def backward(self, line: int, span: Span = EVER, most: int = MOST_CHUNKS) -> Iterator[Piece]:
        """Pieces of the lines before this one, newest first."""
        count = 1
        while pieces := self._step(partial(self._before, line, count, span)):
            line, count = pieces[-1].first, min(count * 2, most)
            yield from _one_by_one(pieces)

    # One step

    def _step(self, read: Callable[[int], T]) -> T:
        """Call `read` with the oldest line until database and spool agree. Raises StoreError."""
        for _ in range(TRIES):
            try:
                result, stand = self._read(read)
                if not stand.runs or self._overlay.reached(self._stand()[1]):
                    return result
            except Moved:
                self._overlay.close()
            except sqlite3.Error as error:
                raise StoreError(f"cannot read logs: {error}") from error
        raise StoreError(f"cannot read logs: {TRIES} times they had moved on meanwhile; ask again")

    def _read(self, read: Callable[[int], T]) -> tuple[T, Stand]:
        self._db.execute("BEGIN")
        try:
            first, stand = self._stand()
            self._overlay.refresh(stand)
            return read(first), stand
        finally:
            self._db.execute("COMMIT")

    def _stand(self) -> tuple[int, Stand]:
        row = self._db.execute(
            "SELECT first, next, part, run, segment FROM task WHERE id = ?", (self._task,)
        ).fetchone()
        if row is None:
            return 0, Stand(0, 0, None, ())
        first, following, part, run, segment = row
        runs = self._db.execute(
            "SELECT id, attach, file, offset, segment FROM run WHERE task = ? AND finished = 0 ORDER BY id",
            (self._task,),
        ).fetchall()
        stands = tuple(
            (number, (turn, file), offset, part_of) for number, turn, file, offset, part_of in runs
        )
        since = self._db.execute(
            "SELECT last_ts FROM chunk WHERE task = ? ORDER BY first DESC, part DESC LIMIT 1", (self._task,)
        ).fetchone()
        held = (run, segment) if part else None
        return first, Stand(following, part, held, stands, since[0] if since else None)

    def _after(self, line: int, count: int, span: Span, oldest: int) -> tuple[list[Piece], bool]:
        line = max(line, oldest)
        found = self._position_before(line, 1) or (line, 0)
        pieces = assemble(self._whole_groups(self._rows_from(found, span), count))
        pieces = [piece for piece in pieces if piece.end > line]
        if not pieces:
            return [], False
        pieces[0].begin_at(line)
        return pieces, pieces[-1].end < self._overlay.end

    def _runs(self, oldest: int) -> list[tuple[int, int, int]]:
        rows = self._db.execute(
            "SELECT id, first, next FROM run WHERE task = ? AND first IS NOT NULL", (self._task,)
        )
        found = {run: (first, following) for run, first, following in rows}
        ends = [chunk.first for chunk in self._overlay.chunks[1:]] + [self._overlay.end]
        for chunk, end in zip(self._overlay.chunks, ends, strict=False):  # without chunks, one end is left
            first, following = found.get(chunk.run, (chunk.first, end))
            found[chunk.run] = first, max(following, end)
        return [(run, max(first, oldest), end) for run, (first, end) in sorted(found.items()) if end > oldest]

    @staticmethod
    def _whole_groups(rows: Iterator[Row], count: int) -> Iterator[Row]:
        """About `count` rows, plus the rest of a line that begins in the last of them."""
        with closing(rows):  # type: ignore[type-var]
            for number, row in enumerate(rows):
                if number > count and not row.part:
                    return
                yield row

    def _before(self, line: int, count: int, span: Span, oldest: int) -> list[Piece]:
        pieces: list[Piece] = []
        for row in self._rows_before(line, count, span):
            if row.first >= line or row.first < oldest:
                continue  # part of a line already yielded, or older than the oldest
            if row.part:
                head = self._head_of(row.first, row.part)
                piece = assemble(self._group(self._rows_from(head, EVER), line))[0]
            else:
                piece = assemble([row])[0]
            piece.cut_off(line)
            pieces.append(piece)
            line = piece.first
        return pieces

    @staticmethod
    def _group(rows: Iterator[Row], limit: int) -> Iterator[Row]:
        """The first row, and the rows that continue its last line."""
        with closing(rows):  # type: ignore[type-var]
            for number, row in enumerate(rows):
                if number and (not row.part or row.first >= limit):
                    return
                yield row

    def _rows_from(self, position: tuple[int, int], span: Span) -> Iterator[Row]:
        stored = self._db.execute(
            f"SELECT {_COLUMNS} FROM chunk WHERE task = ? AND (first, part) >= (?, ?) "  # noqa: S608 - constant
            "AND last_ts >= ? AND first_ts <= ? ORDER BY first, part",
            (self._task, *position, *span),
        )
        with closing(stored):
            yield from map(Row._make, stored)
        loose = self._overlay.chunks
        at = max(bisect_right(loose, position, key=_position) - 1, 0)
        for chunk in loose[at:]:
            if span.since <= chunk.ts and chunk.begin <= span.until:
                yield self._row(chunk)

    def _rows_before(self, line: int, count: int, span: Span) -> Iterator[Row]:
        loose = self._overlay.chunks
        at = bisect_left(loose, line, key=_line)
        for chunk in reversed(loose[max(at - count, 0) : at]):
            if span.since <= chunk.ts and chunk.begin <= span.until:
                yield self._row(chunk)
        if at < count:
            yield from map(
                Row._make,
                self._db.execute(
                    f"SELECT {_COLUMNS} FROM chunk WHERE task = ? AND first < ? "  # noqa: S608 - constant
                    "AND last_ts >= ? AND first_ts <= ? ORDER BY first DESC, part DESC LIMIT ?",
                    (self._task, line, *span, count - at),
                ).fetchall(),
            )

    def _position_before(self, line: int, part: int) -> tuple[int, int] | None:
        """The position of the last chunk before this one."""
        loose = self._overlay.chunks
        if at := bisect_left(loose, (line, part), key=_position):
            return _position(loose[at - 1])
        row: tuple[int, int] | None = self._db.execute(
            "SELECT first, part FROM chunk WHERE task = ? AND (first, part) < (?, ?) "
            "ORDER BY first DESC, part DESC LIMIT 1",
            (self._task, line, part),
        ).fetchone()
        return row

    def _head_of(self, first: int, part: int) -> tuple[int, int]:
        """The position of the chunk in which a continued line begins."""
        position = (first, part)
        while position[1] and (earlier := self._position_before(*position)):
            position = earlier
        return position

    def _row(self, chunk: Loose) -> Row:
        body = self._overlay.body(chunk)
        if body is None:
            raise Moved
        times = (chunk.begin, chunk.ts, int(chunk.approx), None)
        return Row(chunk.run, chunk.first, chunk.part, chunk.lines, *times, body)


def _position(chunk: Loose) -> tuple[int, int]:
    return chunk.first, chunk.part


def _line(chunk: Loose) -> int:
    return chunk.first


def _one_by_one(pieces: list[Piece]) -> Iterator[Piece]:
    """Yield the pieces without keeping references, so that those already consumed do not stay in memory."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()
