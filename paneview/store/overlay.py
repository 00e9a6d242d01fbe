"""Spool bytes that are not stored yet, seen as chunks: what readers add to the database.

The numbering follows the ingest's own rules, so a line keeps its number when it moves from the spool into the
database. Nothing is written. While no supervisor runs the spool only grows, so what was indexed stays
indexed and a look costs only what is new.

Bytes have the time of the file's last change when they were first seen. A line without newline, which may wait here
for long, is a chunk of its own and keeps that time while it grows: as the ingest will store it with the time at which
it began.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from paneview.store.chunks import cut
from paneview.store.spool import Block, Key, RunFiles

BLOCK = 256 * 1024
FRESH = 1.0  # seconds; bytes younger than this have a time as good as the clock's


class Stand(NamedTuple):
    """Where a task's numbering and the spool of its unfinished runs stand, as stored."""

    next: int
    part: int
    holder: tuple[int, int] | None  # run and segment that wrote the unfinished line
    runs: tuple[tuple[int, Key, int, int], ...]  # run, file, offset, segment


class Loose(NamedTuple):
    """A stretch of spool that is a chunk to be."""

    run: int
    first: int
    part: int
    lines: int
    ts: float
    approx: bool
    size: int
    key: Key
    offset: int
    segment: int


class _Walk(Struct):
    """The end of what is indexed."""

    line: int
    part: int
    holder: tuple[int, int] | None
    at: dict[int, tuple[Key, int]] = {}  # by run
    segments: dict[int, int] = {}  # by run


class Overlay:
    """The unstored output of one task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, RunFiles] = {}
        self._stand: Stand | None = None
        self._walk = _Walk(0, 0, None)
        self._begun: tuple[int, float] | None = None  # the unfinished line, and when it was first seen
        self.chunks: list[Loose] = []

    def refresh(self, stand: Stand) -> None:
        """Look what lies in the spool behind this stand."""
        if stand != self._stand:
            self._begin(stand)
        elif self.chunks and self._walk.part:
            # The last line may have gone on: look again from where its chunk begins.
            last = self.chunks.pop()
            self._walk.line, self._walk.part = last.first, last.part
            self._walk.at[last.run] = (last.key, last.offset)
            self._walk.segments[last.run] = last.segment
        for run, *_ in stand.runs:
            self._index(run)

    def reached(self, stand: Stand) -> bool:
        """Whether everything that is stored by now had been seen. A run that was finished may not have
        been."""
        now = {run: (key, offset) for run, key, offset, _ in stand.runs}
        return all(run in now and at >= now[run] for run, at in self._walk.at.items())

    @property
    def end(self) -> int:
        """One past the newest line, a line without newline included."""
        return self._walk.line + (1 if self._walk.part else 0)

    def body(self, chunk: Loose) -> bytes | None:
        """Its bytes; None if they were stored and removed meanwhile."""
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
        self.chunks = []

    def _index(self, run: int) -> None:
        files = self._files[run]
        while True:
            key, offset = self._walk.at[run]
            block = files.read(key, offset, BLOCK)
            taken = self._add(run, block)
            if block.following is not None:
                self._walk.at[run] = block.following, 0
                self._walk.segments[run] += 1
            elif block.at_end:
                return
            elif not taken:
                return  # cannot be: a block without newline is longer than a chunk

    def _add(self, run: int, block: Block) -> int:
        data, taken = block.data, 0
        holder = (run, self._walk.segments[run])
        if not data:
            return 0
        if self._walk.part and self._walk.holder != holder:
            self._walk.line, self._walk.part = self._walk.line + 1, 0
        self._walk.holder = holder
        modified = self._files[run].modified(block.end[0]) or time.time()
        for part, ts in self._timed(data, modified, at_end=block.at_end):
            approx = len(part) > 1 and b"\n" in part and ts == modified and time.time() - ts > FRESH
            for body in cut(part):
                if not (block.at_end or body.endswith(b"\n") or taken + len(body) < len(data)):
                    break  # the beginning of a line whose rest was not read yet
                place = (*block.position(taken), holder[1])
                lines = body.count(b"\n")
                walk = self._walk
                self.chunks.append(Loose(run, walk.line, walk.part, lines, ts, approx, len(body), *place))
                taken += len(body)
                walk.line += lines
                walk.part = (0 if lines else walk.part) + len(body) - 1 - body.rfind(b"\n")
        if self._walk.part and not self._goes_on():
            self._begun = self._walk.line, modified
        self._walk.at[run] = block.position(taken)
        return taken

    def _timed(self, data: bytes, modified: float, *, at_end: bool) -> list[tuple[bytes, float]]:
        """The bytes with their times: the rest of the line that goes on, whole lines, the beginning of the last."""
        first = last = 0
        times = [modified] * 3
        if self._begun is not None and self._goes_on():
            first, times[0] = data.find(b"\n") + 1 or len(data), self._begun[1]
        last = max(first, data.rfind(b"\n") + 1) if at_end else len(data)
        parts = (data[:first], data[first:last], data[last:])
        return [(part, ts) for part, ts in zip(parts, times, strict=True) if part]

    def _goes_on(self) -> bool:
        """Whether the walk stands in the line that was unfinished at an earlier look."""
        return self._begun is not None and self._begun[0] == self._walk.line
