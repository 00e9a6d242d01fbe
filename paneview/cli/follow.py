"""New lines of any number of tasks, as they come: what ``logs -f`` shows after the past ones.

Lines are read from the store, as past ones are, so nothing is lost or shown twice in between, and restarts and
rotations need no special care. The supervisor's ``heads`` push, or the spool folder while no supervisor runs, says when
there is something to read. Both are only hints: a look every quarter of a second makes up for a missed one. For lines
that are not stored yet, the supervisor knows the times best, and is asked for them.

A line that has no newline yet, such as a prompt, is shown once it has stayed the same for a moment; if it goes on
later, only the rest is shown.
"""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING

from paneview.config import paths
from paneview.control.errors import ControlError, Disconnected, NoSupervisor
from paneview.store.reader import MAX_BYTES, Line, LogReader, split
from paneview.store.watch import Watch, watch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paneview.cli.place import Place
    from paneview.control.blocking import Connection
    from paneview.store.pieces import Piece

LOOK_EVERY = 0.25  # seconds
SETTLED = 0.3  # seconds after which a line without newline is shown
RECONNECT_EVERY = 1.0
ANSWER = 1.0  # seconds to wait for a busy supervisor; a suspended one never answers
MOST_TIMED = 1_000  # lines of one task whose times are asked for; more at once are a flood
BATCH = 5_000  # lines of one task at a time


class Tail:
    """One task's log from line `start` on."""

    def __init__(self, reader: LogReader, task: str, start: int) -> None:
        self._reader = reader
        self.task = task
        self._next = start
        self._open: Line | None = None  # the line without newline, as last seen
        self._open_since = 0.0
        self._shown = 0  # bytes of it that were shown
        self.behind = False
        self._missed = 0

    def missed(self) -> int:
        """The number of lines that were removed before they could be read, since it was last asked for."""
        missed, self._missed = self._missed, 0
        return missed

    def read(self, now: float) -> Iterator[Line]:
        """The new lines, about `BATCH` of them at most; `behind` says whether there are more."""
        self.behind = False
        source = self._reader.lines_of(self.task)
        if source is None:
            return
        first, end = source.bounds()
        if 0 < self._next < first:  # from 0 on, it did not begin yet
            self._missed += first - self._next
        self._next = min(max(self._next, first), end)
        last = self._next + BATCH
        for piece in source.forward(self._next):
            if self._open is not None and self._open.number < piece.first:
                yield from self._rest(self._open)  # another run has begun: its newline does not come any more
            whole = whole_end(piece)
            for line in split(self.task, piece, self._next, whole, MAX_BYTES):
                yield from self._rest(line)
            for line in split(self.task, piece, whole, piece.end, MAX_BYTES):
                yield from self._unfinished(line, now)
            self._next = max(self._next, whole)
            if self._next >= last:
                self.behind = True
                return

    def _rest(self, line: Line) -> Iterator[Line]:
        shown = self._shown if self._open is not None and self._open.number == line.number else 0
        self._open, self._shown = None, 0
        if not shown:
            yield line
        elif line.raw[shown:]:
            yield _without(line, shown)

    def _unfinished(self, line: Line, now: float) -> Iterator[Line]:
        if self._open is None or self._open.number != line.number:
            self._shown = 0
        if self._open is None or self._open.raw != line.raw:
            self._open_since = now
        elif now - self._open_since >= SETTLED and len(line.raw) > self._shown:
            yield _without(line, self._shown)
            self._shown = len(line.raw)
        self._open = line


def whole_end(piece: Piece) -> int:
    """One past the piece's last line that has its newline."""
    return piece.end if piece.body.endswith(b"\n") else piece.end - 1


def _without(line: Line, shown: int) -> Line:
    """The line without its first bytes, which were shown."""
    return line._replace(raw=line.raw[shown:])


class Hints:
    """Hints that new lines may have come: from the supervisor if one runs, else from the spool folder."""

    def __init__(self, here: Place, folder: Path) -> None:
        self._here = here
        self._spool = paths.spool_dir(folder)
        self._connection: Connection | None = None
        self._watch: Watch | None = None
        self._tried = 0.0

    def wait(self) -> None:
        """Return at a hint, or after `LOOK_EVERY` seconds. Raises BrokenPipeError once nobody reads our output."""
        self._connect()
        source = self._connection or self._watch
        descriptor = source.fileno() if source else None
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # reports only that the other end is closed
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        for ready, _ in poll.poll(LOOK_EVERY * 1000):
            if ready == sys.stdout.fileno():
                raise BrokenPipeError
            self._take()

    def _take(self) -> None:
        if self._connection:
            try:
                self._connection.drain()
            except Disconnected:
                self._disconnect()
        elif self._watch:
            self._watch.changed()

    def timed(self, lines: list[Line]) -> list[Line]:
        """The lines, those with rough times given the supervisor's better ones where it has them."""
        rough: dict[str, int] = {}  # by task, the first such line
        last: dict[str, int] = {}
        for line in lines:
            last[line.task] = line.number
            if line.approx:
                rough.setdefault(line.task, line.number)
        if not rough:
            return lines
        known = {}
        self._connect()
        for task, first in rough.items() if self._connection else ():
            count = last[task] + 1 - first
            if count > MOST_TIMED:
                continue
            try:
                asked = {"task": task, "first": first, "count": count}
                for told in self._here.ask("log_lines", asked, timeout=ANSWER)["lines"]:
                    known[task, told["run"], told["n"]] = told["ts"], told["approx"]
            except (NoSupervisor, ControlError) as error:
                if isinstance(error, ControlError) and error.code == "not_found":
                    continue  # a task that was removed meanwhile
                self._disconnect()  # so that the next lines do not wait for it again
                break
        found = ((line, known.get(line[:3])) for line in lines)
        return [line._replace(ts=better[0], approx=better[1]) if better else line for line, better in found]

    def close(self) -> None:
        """Stop listening."""
        for source in (self._connection, self._watch):
            if source:
                source.close()

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None
            self._tried = time.monotonic()

    def _connect(self) -> None:
        if self._connection or (self._tried and time.monotonic() - self._tried < RECONNECT_EVERY):
            return
        connection = None
        try:  # a suspended supervisor accepts the connection, and says nothing
            connection = self._here.connect(ANSWER)
            connection.call("subscribe", {"topics": ["heads"]})
            self._connection = connection
        except (NoSupervisor, ControlError):
            self._tried = time.monotonic()
            if connection:
                connection.close()
            if self._watch is None and self._spool.is_dir():
                self._watch = watch_folder(self._spool)


def _in_turn(lines: list[Line]) -> list[Line]:
    """The lines by time, but each task's in their own order, since the times of two lines may be off by a hair."""
    newest: dict[str, float] = {}
    turns = []
    for line in lines:
        newest[line.task] = max(newest.get(line.task, line.ts), line.ts)
        turns.append(newest[line.task])
    return [line for _, line in sorted(zip(turns, lines, strict=True), key=lambda pair: pair[0])]


def follow(
    here: Place, folder: Path, reader: LogReader, tails: dict[str, Tail], *, every: bool
) -> Iterator[list[Line]]:
    """Batches of new lines, each sorted by time, for ever; `every`: also of tasks that begin to write later."""
    hints = Hints(here, folder)
    try:
        while True:
            if every:
                tails.update({name: Tail(reader, name, 0) for name in reader.tasks() if name not in tails})
            now = time.monotonic()
            lines = hints.timed([line for tail in tails.values() for line in tail.read(now)])
            if lines:
                yield _in_turn(lines)
            if not any(tail.behind for tail in tails.values()):
                hints.wait()
    finally:
        hints.close()
