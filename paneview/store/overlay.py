"""Spool bytes that are not stored yet, presented as chunks: what readers add to the database.

The numbering follows the rules of the ingest, so a line keeps its number when it moves from the spool into
the database. Nothing is written. While no supervisor runs the spool only grows, so the index stays valid and
a refresh costs only what is new.

The times of bytes are known if the ingest is a thread of the same process and has seen them (`Known`). Otherwise
they came after what is stored, or after the previous refresh, and before the file's last change, which is the time
of the newest line only; unless that span is a mere moment, the times of the other lines are bracketed. A line without
a newline, which may wait here for a long time, is a chunk of its own and keeps the time at which it was first seen
while it grows, since the ingest will store it with the time at which it began.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from paneview.store.chunks import cut
from paneview.store.known import Known, KnownTimes, nobody_knows
from paneview.store.spool import Block, Key, RunFiles

BLOCK = 256 * 1024
FRESH = 1.0  # seconds; for older bytes not even the last line's time is known
MOMENT = 0.05  # seconds; lines that came within this span share one time
# Seconds that bytes stay in the spool at most while an ingest is running, but for an unwatched flood.
WAITS = 0.6


class Stand(NamedTuple):
    """The stored state of a task's numbering and of its unfinished runs' spool positions."""

    next: int
    part: int
    holder: tuple[int, int] | None  # run and segment that wrote the unfinished line
    runs: tuple[tuple[int, Key, int, int], ...]  # run, file, offset, segment
    since: float | None = None  # when the newest stored line came


class Loose(NamedTuple):
    """A stretch of the spool that is a chunk in the making."""

    run: int
    first: int
    part: int
    lines: int
    begin: float  # `begin` and `ts`: when its first and last line came; equal unless `approx`
    ts: float
    approx: bool
    size: int
    key: Key
    offset: int
    segment: int


class _Part(NamedTuple):
    """Lines with one time, or with a bracket."""

    data: bytes
    begin: float
    ts: float
    approx: bool = False


class _Walk(Struct):
    """How far the index reaches."""

    line: int
    part: int
    holder: tuple[int, int] | None
    at: dict[int, tuple[Key, int]] = {}  # by run
    segments: dict[int, int] = {}  # by run
    taken: dict[int, int] = {}  # by run: bytes indexed beyond the stand
    looked: dict[int, float] = {}  # by run: what is not indexed came after this


class Overlay:
    """The unstored output of one task."""

    def __init__(self, folder: Path, known: Known = nobody_knows) -> None:
        self._folder = folder
        self._known = known
        self._files: dict[int, RunFiles] = {}
        self._stand: Stand | None = None
        self._walk = _Walk(0, 0, None)
        self._begun: tuple[int, float] | None = None  # the unfinished line, and when it was first seen
        self.chunks: list[Loose] = []

    def refresh(self, stand: Stand) -> None:
        """Index what the spool holds beyond this stand."""
        if stand != self._stand:
            self._begin(stand)
        elif self.chunks and self._walk.part:
            # The last line may have grown: index again from the beginning of its chunk.
            last = self.chunks.pop()
            self._walk.line, self._walk.part = last.first, last.part
            self._walk.at[last.run] = (last.key, last.offset)
            self._walk.segments[last.run] = last.segment
            self._walk.taken[last.run] -= last.size
        for run, *_ in stand.runs:
            self._index(run)

    def reached(self, stand: Stand) -> bool:
        """Whether the index reaches at least as far as this stand. False if a run was finished since."""
        now = {run: (key, offset) for run, key, offset, _ in stand.runs}
        return all(run in now and at >= now[run] for run, at in self._walk.at.items())

    @property
    def end(self) -> int:
        """One past the newest line, counting a line without newline."""
        return self._walk.line + (1 if self._walk.part else 0)

    def body(self, chunk: Loose) -> bytes | None:
        """The chunk's bytes; None if they were stored and removed meanwhile."""
        data = self._files[chunk.run].read(chunk.key, chunk.offset, chunk.size).data
        return data if len(data) == chunk.size else None

    def close(self) -> None:
        """Close all files."""
        for files in self._files.values():
            files.close()
        self._files.clear()
        self._stand = None

    def _begin(self, stand: Stand) -> None:
        wanted = {run for run, *_ in stand.runs}
        for run in [run for run in self._files if run not in wanted]:
            self._files.pop(run).close()
        for run, key, *_ in stand.runs:
            self._files.setdefault(run, RunFiles(self._folder, run)).close_before(key)
        self._stand = stand
        self._walk = _Walk(stand.next, stand.part, stand.holder)
        self._walk.at = {run: (key, offset) for run, key, offset, _ in stand.runs}
        self._walk.segments = {run: segment for run, _, _, segment in stand.runs}
        self._walk.taken = dict.fromkeys(self._walk.at, 0)
        if stand.since is not None:
            self._walk.looked = dict.fromkeys(self._walk.at, stand.since)
        self.chunks = []

    def _index(self, run: int) -> None:
        files, now = self._files[run], time.time()
        while True:
            key, offset = self._walk.at[run]
            block = files.read(key, offset, BLOCK)
            taken = self._add(run, block)
            if block.following is not None:
                self._walk.at[run] = block.following, 0
                self._walk.segments[run] += 1
            elif block.at_end:
                self._walk.looked[run] = now
                return
            elif not taken:
                return  # cannot happen: a block without newline is longer than a chunk

    def _add(self, run: int, block: Block) -> int:
        data, taken = block.data, 0
        holder = (run, self._walk.segments[run])
        if not data:
            return 0
        if self._walk.part and self._walk.holder != holder:
            self._walk.line, self._walk.part = self._walk.line + 1, 0
        self._walk.holder = holder
        modified = self._files[run].modified(block.end[0]) or time.time()
        for part in self._timed(run, data, modified, at_end=block.at_end):
            for body in cut(part.data):
                if not (block.at_end or body.endswith(b"\n") or taken + len(body) < len(data)):
                    break  # the beginning of a line whose rest was not read yet
                place = (*block.position(taken), holder[1])
                lines = body.count(b"\n")
                walk = self._walk
                self.chunks.append(Loose(run, walk.line, walk.part, lines, *part[1:], len(body), *place))
                taken += len(body)
                walk.line += lines
                walk.part = (0 if lines else walk.part) + len(body) - 1 - body.rfind(b"\n")
        if self._walk.part and not self._goes_on():
            self._begun = self._walk.line, modified
        self._walk.at[run] = block.position(taken)
        self._walk.taken[run] += taken
        return taken

    def _timed(self, run: int, data: bytes, modified: float, *, at_end: bool) -> list[_Part]:
        """The bytes with their times: the rest of the unfinished line, whole lines, the beginning of the last."""
        first, begun = 0, modified
        if self._begun is not None and self._goes_on():
            first, begun = data.find(b"\n") + 1 or len(data), self._begun[1]
        last = max(first, data.rfind(b"\n") + 1) if at_end else len(data)
        parts = [_Part(data[:first], begun, begun), *self._lines(run, data, first, last, modified, at_end)]
        return [part for part in (*parts, _Part(data[last:], modified, modified)) if part.data]

    def _lines(
        self, run: int, data: bytes, first: int, last: int, modified: float, at_end: bool
    ) -> list[_Part]:
        """Whole lines, with the times the ingest knows, and for the rest with what can be inferred from here."""
        after = self._walk.looked.get(run)
        parts = []
        base = self._walk.taken[run]
        known = self._known_times(run)
        for (begin, ts), (end, _) in pairwise((*known.marks, (known.seen, 0.0))):
            to = min(_line_from(data, end - base), last)
            if begin - base < last and to > first:
                parts.append(_Part(data[first:to], ts, ts))
                first, after = to, ts
        return parts + _bracketed(data[first:last], after, modified, at_end=at_end)

    def _known_times(self, run: int) -> KnownTimes:
        """What the ingest knows of the bytes beyond our stand; nothing if it has a different position."""
        known = self._known(run)
        runs = self._stand.runs if self._stand else ()
        at = next(((key, offset) for other, key, offset, _ in runs if other == run), None)
        return known if known and known.at == at else KnownTimes(((0, 0), 0), (), 0)

    def _goes_on(self) -> bool:
        """Whether the walk is inside the line that was unfinished at an earlier refresh."""
        return self._begun is not None and self._begun[0] == self._walk.line


def _line_from(data: bytes, offset: int) -> int:
    """Where the first line at or after this offset begins."""
    if offset <= 0 or data[offset - 1 : offset] == b"\n":
        return max(offset, 0)
    return data.find(b"\n", offset) + 1 or len(data)


def _bracketed(data: bytes, after: float | None, modified: float, *, at_end: bool) -> list[_Part]:
    """Lines that came between `after` and the file's last change, which, if `at_end`, is when the last one came."""
    if time.time() - modified > FRESH:
        return [_Part(data, modified, modified, approx=True)]
    if after is not None and modified - after <= MOMENT:
        if after - modified <= MOMENT:  # files have a coarser clock
            modified = max(after, modified)
        return [_Part(data, modified, modified)]
    last = data.rfind(b"\n", 0, -1) + 1 if at_end else len(data)
    # After a short gap, output was probably continuous; after a pause, it mostly came all at once.
    begin = after if after is not None and modified - after <= WAITS else modified
    return [_Part(data[:last], begin, modified, approx=True), _Part(data[last:], modified, modified)]
