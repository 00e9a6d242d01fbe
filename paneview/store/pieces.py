"""Whole lines assembled from chunks, for reading, searching and export.

A piece is a chunk, or the chunks that a very long line spans. A megabyte of such a line is kept and the rest
only counted: a log without newlines must not fill the reader's memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from paneview.store.chunks import Times

LINE_KEPT = 1024 * 1024  # bytes of one line, at most


class Row(NamedTuple):
    """A chunk with its body, from the database or from the spool."""

    run: int
    first: int
    part: int
    lines: int
    first_ts: float
    last_ts: float
    approx: int
    times: bytes | None
    body: bytes


class Piece(Struct):
    """Whole lines: `body` begins with line `first`; the last may lack its newline; `end` is one past the last."""

    run: int
    first: int
    end: int
    body: bytes
    headless: bool = False  # the beginning of its first line is missing
    dropped: dict[int, int] = {}  # line → bytes of it that were left out
    _starts: list[int] = []
    _times: list[tuple[int, Times]] = []

    def when(self, line: int) -> tuple[float, bool]:
        """When this line came, and whether that time is only bracketed."""
        base, times = self._times[max(bisect_right(self._starts, line) - 1, 0)]
        return times.of(line - base), times.approx

    def fixed_time(self) -> tuple[float, bool] | None:
        """The time of all lines as from `when`; None if they differ."""
        if len(self._times) > 1 or not self._times[0][1].fixed:
            return None
        return self.when(self.first)

    def time_from(self, line: int, base: int, times: Times) -> None:
        """Use the times of a chunk that begins at line `base` from this line on."""
        self._starts.append(line)
        self._times.append((base, times))

    def begin_at(self, line: int) -> None:
        """Leave out the lines before this one."""
        if self.first < line < self.end:
            self.body = self.body.split(b"\n", line - self.first)[-1]
            self.first, self.headless = line, False

    def cut_off(self, limit: int) -> None:
        """Leave out the lines from this one on."""
        if self.end > limit:
            kept = self.body.split(b"\n", limit - self.first)[:-1]
            self.body = b"".join([line + b"\n" for line in kept])
            self.end = limit


def assemble(rows: Iterable[Row]) -> list[Piece]:
    """Turn ordered rows into pieces; a row that continues a line joins the piece before it."""
    pieces: list[Piece] = []
    line_size = 0  # bytes kept of the unfinished line
    bodies: list[bytes] = []
    for row in rows:
        times = Times(row.first_ts, row.last_ts, row.lines, approx=bool(row.approx), packed=row.times)
        body = row.body
        if row.part and pieces:
            piece = pieces[-1]
            begun, newline, rest = body.partition(b"\n")
            kept = begun[: LINE_KEPT - line_size]
            if len(kept) < len(begun):
                piece.dropped[row.first] = piece.dropped.get(row.first, 0) + len(begun) - len(kept)
            bodies += [kept, newline, rest]
            piece.time_from(row.first + 1, row.first, times)
            line_size = _open_size(rest) if newline else line_size + len(kept)
        else:
            if pieces:
                pieces[-1].body = b"".join(bodies)
            piece = Piece(row.run, row.first, row.first, b"", headless=row.part > 0)
            piece.time_from(row.first, row.first, times)
            if row.part:
                piece.dropped[row.first] = row.part
            pieces.append(piece)
            bodies = [body]
            line_size = _open_size(body)
        piece.end = row.first + row.lines + (not body.endswith(b"\n"))
    if pieces:
        pieces[-1].body = b"".join(bodies)
    return pieces


def _open_size(body: bytes) -> int:
    return len(body) - 1 - body.rfind(b"\n")
