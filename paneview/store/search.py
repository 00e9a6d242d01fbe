"""Searching stored lines: newest or oldest first, of one task or of many merged by time, with context.

Results are yielded one by one and not collected, so memory does not depend on their number: at most a
megabyte of chunks is held, or a chunk per task when many are merged.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from paneview.store.match import Finder, Query, finder
from paneview.store.pieces import Piece
from paneview.store.reader import MAX_BYTES, Line, LogReader, make_line
from paneview.store.snapshot import EVER, MOST_CHUNKS, Span

Place = tuple[int, int, int]  # a line: number, and where in the body it begins and ends


class Search(Struct, frozen=True):
    """Which lines, and in which order. Without a query: all of them.

    `limit` counts matches; `before` and `after` are lines of context. `start` (for a single task) is the
    first line searched when oldest first, or the line before which to begin when newest first.
    """

    query: Query | None = None
    span: Span = EVER
    newest_first: bool = False
    limit: int | None = None
    before: int = 0
    after: int = 0
    max_bytes: int = MAX_BYTES
    start: int | None = None


def scan(reader: LogReader, tasks: Sequence[str], search: Search) -> Iterator[Line]:
    """The lines of the search, merged by time; context lines have `match` False and come next to their match.

    With newest first, context comes in that order too. Lines that arrive meanwhile are not included.
    Raises `StoreError` if the logs cannot be read, and `TooSlow` from the query.
    """
    find = finder(search.query) if search.query and search.query.pattern else None
    most = max(MOST_CHUNKS // max(len(tasks), 1), 1)
    streams = [_lines_of(reader, task, search, find, most) for task in tasks]
    merged: Iterator[Line] = (
        streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_ts, reverse=search.newest_first)
    )
    if search.limit is not None:
        merged = islice(merged, search.limit)
    if search.query is None or not (search.before or search.after):
        return merged
    return _with_context(reader, search, search.query, merged)


def find_lines(reader: LogReader, task: str, search: Search) -> tuple[list[int], int | None]:
    """Numbers of matching lines, and the `start` to continue with, or None when there are no more."""
    numbers = [line.number for line in scan(reader, [task], search) if line.match]
    if search.limit is None or len(numbers) < search.limit or not numbers:
        return numbers, None
    return numbers, numbers[-1] + (0 if search.newest_first else 1)


def _ts(line: Line) -> float:
    return line.ts


def _lines_of(reader: LogReader, task: str, search: Search, find: Finder | None, most: int) -> Iterator[Line]:
    """The matching lines of one task."""
    source = reader.lines_of(task)
    if source is None:
        return
    first, end = source.bounds()
    span, start = search.span, search.start
    if search.newest_first:
        pieces = source.backward(end if start is None else min(start, end), span, most)
        places = _places_backward
    else:
        first = first if start is None else max(start, first)
        pieces = source.forward(first, span, most)
        places = _places_forward
    for piece in pieces:
        if piece.first >= end:
            return
        for number, begin, stop in places(piece, find):
            if not first <= number < end or (piece.headless and number == piece.first and span != EVER):
                continue
            line = make_line(task, piece, number, piece.body[begin:stop], search.max_bytes)
            if span.since <= line.ts < span.until:
                yield line


def _places_forward(piece: Piece, find: Finder | None) -> Iterator[Place]:
    body = piece.body
    if find is not None:
        yield from _places_of(piece, find(piece))
        return
    begin = 0
    for number in range(piece.first, piece.end):
        stop = body.find(b"\n", begin)
        stop = len(body) if stop < 0 else stop
        yield number, begin, stop
        begin = stop + 1


def _places_backward(piece: Piece, find: Finder | None) -> Iterator[Place]:
    body = piece.body
    if find is not None:
        yield from reversed(list(_places_of(piece, find(piece))))
        return
    stop = len(body) - body.endswith(b"\n")
    for number in range(piece.end - 1, piece.first - 1, -1):
        begin = body.rfind(b"\n", 0, stop) + 1
        yield number, begin, stop
        stop = begin - 1


def _places_of(piece: Piece, numbers: array[int]) -> Iterator[Place]:
    """Where these lines are in the piece; the numbers must be sorted."""
    body = piece.body
    at, begin = piece.first, 0
    for number in numbers:
        while at < number:
            begin = body.find(b"\n", begin) + 1
            at += 1
        stop = body.find(b"\n", begin)
        yield number, begin, len(body) if stop < 0 else stop


def _with_context(reader: LogReader, search: Search, query: Query, matches: Iterator[Line]) -> Iterator[Line]:
    """Each match with its context lines; a context line that matches too is yielded only as a match."""
    shown: dict[str, int] = {}
    back = search.newest_first
    lead, trail = (search.after, search.before) if back else (search.before, search.after)

    def context(task: str, number: int, count: int, step: int) -> list[Line]:
        """Up to `count` neighbours of the line in this direction, nearest first."""
        begin = number + 1 if step > 0 else max(number - count, 0)
        size = count if step > 0 else number - begin
        lines = reader.lines(task, begin, size, max_bytes=search.max_bytes)
        return lines if step > 0 else lines[::-1]

    def unseen(task: str, number: int) -> bool:
        last = shown.get(task)
        return last is None or (number < last if back else number > last)

    step = -1 if back else 1
    matches_too = query.matcher()
    for match in matches:
        task = match.task
        for line in reversed(context(task, match.number, lead, -step)):
            if unseen(task, line.number):
                yield line._replace(match=False)
                shown[task] = line.number
        yield match
        shown[task] = match.number
        for line in context(task, match.number, trail, step):
            if matches_too(line.raw):
                break
            yield line._replace(match=False)
            shown[task] = line.number
