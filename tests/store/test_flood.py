"""A task that floods: if nobody watches, its output is stored once it is over, with the times at which it came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from paneview.store import stream
from paneview.store.engine import Attachment, IngestEngine
from paneview.store.reader import LogReader
from tests.harness import wait_until
from tests.store.helpers import EVERYTHING, Pipe, read_all

LOOK = 0.2  # seconds between two looks at a flood
BURST = b"%099d\n" % 7 * (stream.FLOOD // 100 + 1)
LINES = BURST.count(b"\n")


class Flood:
    """A task that floods, and the ingest that looks at it; the clock that it stores by is the test's."""

    def __init__(self, folder: Path, spool: Path) -> None:
        self.engine = IngestEngine(folder, spool)
        self.engine.open()
        self.engine.attach(Attachment(1, "web", EVERYTHING, time.time()))
        self.pipe = Pipe(spool, 1)
        self.clock = time.monotonic()
        self.flow(b"first\n" * 4000)  # enough to be stored as it comes

    def flow(self, data: bytes) -> None:
        self.pipe.write(data)
        self.look()

    def look(self) -> None:
        self.clock += LOOK
        self.engine.mark(self.changed())
        for _ in range(8):  # a turn stores a part of what is due
            self.engine.turn(self.clock)

    def changed(self) -> set[str]:
        return {"1.000000"}


@pytest.fixture
def flood(logs_db: Path, spool: Path) -> Iterator[Flood]:
    made = Flood(logs_db, spool)
    with made.pipe, closing(made.engine):
        yield made


def stored(reader: LogReader) -> int:
    """How many lines of the flood are in the database itself."""
    source = reader.lines_of("web")
    assert source is not None
    return source.whole_lines()[1] - 4000


def test_it_is_stored_when_it_is_over(flood: Flood, reader: LogReader) -> None:
    for _ in range(5):
        flood.flow(BURST)
    assert stored(reader) == 0
    flood.flow(b"last\n")
    assert stored(reader) == 5 * LINES + 1
    assert b"".join(line.raw + b"\n" for line in read_all(reader, "web")) == flood.pipe.written


def test_it_is_stored_when_nothing_more_comes(flood: Flood, reader: LogReader) -> None:
    flood.flow(BURST)
    assert stored(reader) == 0
    flood.changed = set[str]  # type: ignore[method-assign]  # the kernel reports no change any more
    flood.look()
    assert stored(reader) == LINES


def test_it_is_stored_from_time_to_time_while_it_lasts(flood: Flood, reader: LogReader) -> None:
    waits = [0]
    for number in range(20):
        flood.flow(BURST)
        waits.append(waits[-1] + 1 if stored(reader) < (number + 1) * LINES else 0)
    assert 1.0 < max(waits) * LOOK <= stream.POSTPONED


def test_it_is_stored_once_it_is_long(
    flood: Flood, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_POSTPONED", 3 * len(BURST))
    flood.flow(BURST)
    flood.flow(BURST)
    assert stored(reader) == 0
    flood.flow(BURST)
    assert stored(reader) == 3 * LINES


def test_it_is_stored_as_it_comes_while_somebody_watches(flood: Flood, reader: LogReader) -> None:
    flood.engine.watched = True
    for number in range(3):
        flood.flow(BURST)
        assert stored(reader) == (number + 1) * LINES


def test_it_is_stored_at_once_when_its_run_is_over(flood: Flood, reader: LogReader) -> None:
    flood.flow(BURST)
    assert stored(reader) == 0
    flood.engine.finish(1)
    flood.flow(BURST)
    assert stored(reader) == 2 * LINES


def test_its_lines_keep_the_times_at_which_they_came(flood: Flood, reader: LogReader) -> None:
    came = [time.time()]
    for _ in range(3):
        flood.flow(BURST)
        wait_until(lambda: time.time() > came[-1] + 0.02)
        came.append(time.time())
    flood.flow(b"last\n")
    lines = read_all(reader, "web")[4000:]
    for number, (begin, end) in enumerate(pairwise(came)):
        part = lines[number * LINES : (number + 1) * LINES]
        # Within a chunk, times are stored in milliseconds.
        assert all(begin - 0.001 <= line.ts <= end and not line.approx for line in part[1:])
