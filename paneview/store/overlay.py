"""Spool bytes that are not stored yet, seen as chunks: what readers add to the database.

The numbering follows the ingest's own rules, so a line keeps its number when it moves from the spool into the
database. Nothing is written. While no supervisor runs the spool only grows, so what was indexed stays
indexed and a look costs only what is new.
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
        approx = len(data) > 1 and b"\n" in data and time.time() - modified > FRESH
        for body in cut(data):
            if not (block.at_end or body.endswith(b"\n") or taken + len(body) < len(data)):
                break  # the beginning of a line whose rest was not read yet
            place = (*block.position(taken), holder[1])
            lines = body.count(b"\n")
            line, part = self._walk.line, self._walk.part
            self.chunks.append(Loose(run, line, part, lines, modified, approx, len(body), *place))
            taken += len(body)
            self._walk.line += lines
            self._walk.part = (0 if lines else self._walk.part) + len(body) - 1 - body.rfind(b"\n")
        self._walk.at[run] = block.position(taken)
        return taken
