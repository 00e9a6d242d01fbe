"""What is kept of a log, and how the rest goes."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from paneview.store import stream, upkeep
from paneview.store.database import connect_read_only
from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits
from paneview.store.reader import LogReader
from tests.harness import wait_until
from tests.store.helpers import EVERYTHING, Filled, Pipe, read_all


def numbers(reader: LogReader) -> list[int]:
    return [int(line.raw) for line in read_all(reader, "web")]


def trim(filled: Filled, max_bytes: int | None = None, oldest: float | None = None, limit: int = 1000) -> int:
    with filled.writer.transaction():
        return filled.writer.trim(filled.writer.task("web"), max_bytes, oldest, limit)


def test_size_takes_the_oldest_and_never_renumbers(filled: Filled) -> None:
    for start in range(0, 100_000, 1000):
        filled.write("web", b"".join(b"%d\n" % n for n in range(start, start + 1000)))
    assert trim(filled, max_bytes=200_000) > 0
    first, end = filled.reader.bounds("web")
    assert end == 100_000
    assert numbers(filled.reader) == list(range(first, end))
    kept = sum(len(b"%d\n" % n) for n in range(first, end))
    assert 200_000 - 64 * 1024 <= kept <= 200_000
    assert filled.reader.lines("web", 0, 2)[0].number == first


def test_steps_are_small(filled: Filled) -> None:
    filled.write("web", b"x" * 99 + b"\n" + b"y" * 5_000_000)
    assert trim(filled, max_bytes=100_000, limit=5) == 5
    assert trim(filled, max_bytes=100_000, limit=5) == 5
    assert trim(filled, max_bytes=100_000, limit=1000) < 1000
    assert trim(filled, max_bytes=100_000, limit=1000) == 0


def test_age_takes_what_is_older(filled: Filled) -> None:
    for ts in range(10):
        filled.write("web", (b"%d" % ts) * 5_000 + b"\n", float(ts), run=ts)
    trim(filled, oldest=4.5)
    assert [line.ts for line in read_all(filled.reader, "web")] == [5.0, 6.0, 7.0, 8.0, 9.0]
    assert [run.run for run in filled.reader.runs("web")] == [5, 6, 7, 8, 9]
    trim(filled, oldest=99.0)
    assert filled.reader.bounds("web") == (10, 10)
    filled.write("web", b"more\n", 100.0, run=20)
    assert [line.number for line in read_all(filled.reader, "web")] == [10]


def test_the_newest_chunk_stays_whatever_the_size(filled: Filled) -> None:
    filled.write("web", b"x" * 50_000 + b"\n")
    assert trim(filled, max_bytes=10) == 0
    assert filled.reader.end("web") == 1


def test_a_line_without_beginning_can_still_be_read(filled: Filled) -> None:
    filled.write("web", b"x" * 300_000 + b"\nnext\n")
    trim(filled, max_bytes=100_000)
    lines = filled.reader.lines("web", 0, 10, max_bytes=1 << 20)
    assert [line.number for line in lines] == [0, 1]
    assert set(lines[0].raw) == {ord("x")}
    assert len(lines[0].raw) + lines[0].cut == 300_000
    assert lines[1].raw == b"next"


def test_limits_hold_while_a_task_floods(
    ingest: LogIngest, reader: LogReader, spool: Path, logs_db: Path
) -> None:
    ingest.attach(1, "web", LogLimits(max_bytes=1_000_000))
    with Pipe(spool, 1) as pipe:
        for start in range(0, 1_000_000, 100_000):
            pipe.write(b"".join(b"%d\n" % n for n in range(start, start + 100_000)))
    ingest.finish(1)
    ingest.drained(1).result(20)
    assert reader.end("web") == 1_000_000

    def kept() -> int:
        with closing(connect_read_only(logs_db)) as database:
            return int(database.execute("SELECT sum(size) FROM chunk").fetchone()[0])

    wait_until(lambda: kept() <= 1_000_000)
    assert kept() > 900_000
    found = numbers(reader)
    assert found == list(range(found[0], 1_000_000))


def test_space_is_given_back(ingest: LogIngest, spool: Path, logs_db: Path) -> None:
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"some line or other\n" * 1_000_000)
    ingest.finish(1)
    ingest.drained(1).result(20)
    ingest.set_limits("web", LogLimits(max_bytes=1_000_000))

    def used_pages() -> int:
        with closing(connect_read_only(logs_db)) as database:
            return int(database.execute("PRAGMA page_count").fetchone()[0])

    wait_until(lambda: used_pages() * 8192 < 10_000_000)


def test_age_is_looked_after_without_new_output(logs_db: Path, spool: Path, reader: LogReader) -> None:
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    ingest.attach(1, "web", LogLimits(max_bytes=None, max_age=0.3))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"1\n")
        wait_until(lambda: reader.end("web") == 1)
        time.sleep(0.3)  # its age is what this is about
        ingest.set_limits("web", LogLimits(max_bytes=None, max_age=0.2))
        wait_until(lambda: reader.bounds("web") == (1, 1))
    ingest.stop()


def test_age_takes_the_lines_of_a_slow_task_one_chunk_after_the_other(
    logs_db: Path, spool: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "AGE_CHECK", 0.05)
    monkeypatch.setattr(stream, "DELAY", 0.01)
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    ingest.attach(1, "web", LogLimits(max_bytes=None, max_age=0.5))
    began = time.time()
    with Pipe(spool, 1) as pipe:

        def first_is_gone() -> bool:
            pipe.write(b"\n")
            return reader.bounds("web")[0] > 0

        wait_until(first_is_gone, 10, interval=0.02)
        assert time.time() - began >= 0.5
        first, end = reader.bounds("web")
        assert first < end, "younger lines stay"
    ingest.stop()


@pytest.mark.parametrize("length", [10, 1000, 5000])
def test_chunks_that_are_kept_for_a_time_span_a_share_of_it(filled: Filled, length: int) -> None:
    filled.write("web", b"")
    filled.writer.task("web").span = 25.0
    for ts in range(0, 1000, 3):
        filled.write("web", b"%d\n" % ts + b"x" * (ts % 7) * length + b"\n", float(ts))
    whole = [line.raw for line in read_all(filled.reader, "web")]
    trim(filled, oldest=900.0)
    left = read_all(filled.reader, "web")
    assert 900 - 25 <= left[0].ts <= 900
    assert [line.raw for line in left] == whole[-len(left) :]
    with closing(connect_read_only(filled.path)) as database:
        spans = database.execute("SELECT first_ts, last_ts, lines FROM chunk ORDER BY first").fetchall()
    assert all(last - first <= 25 for first, last, _ in spans)
    if length == 10:
        assert len(spans) <= 100 / 25 + 1, "they still grow"
    if length == 5000:
        assert len(spans) <= 100 / 25 * 4, "they still merge"


def test_clean_forgets_and_numbers_go_on(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    ingest.attach(1, "web", EVERYTHING)
    ingest.attach(2, "other", EVERYTHING)
    with Pipe(spool, 1) as web, Pipe(spool, 2) as other:
        web.write(b"".join(b"%d\n" % n for n in range(200_000)))
        other.write(b"0\n")
        wait_until(lambda: reader.end("web") == 200_000)
        wait_until(lambda: reader.end("other") == 1)
        ingest.logs_clean("web").result(20)
        assert reader.bounds("web") == (200_000, 200_000)
        assert reader.bounds("other") == (0, 1)
        web.write(b"200000\nhalf")
        wait_until(lambda: reader.end("web") == 200_002)
        assert [line.raw for line in reader.lines("web", 0, 10)] == [b"200000", b"half"]
        ingest.logs_clean().result(20)
        web.write(b" more\n200002\n")
        wait_until(lambda: reader.end("web") >= 200_003)
        assert reader.tail("web", 1)[0].raw == b"200002"
        assert reader.bounds("other") == (1, 1)


def test_clean_without_supervisor_takes_the_spool_too(logs_db: Path, spool: Path, reader: LogReader) -> None:
    first = LogIngest(logs_db, spool)
    first.start()
    first.attach(1, "web", EVERYTHING)
    first.stop()
    with Pipe(spool, 1) as pipe:
        pipe.write(b"left behind\n" * 300_000)
    second = LogIngest(logs_db, spool)
    second.start()
    second.logs_clean("web").result(20)
    second.stop()
    assert reader.bounds("web") == (300_000, 300_000)


def test_random_growth_and_trimming_agree_with_a_plain_list(filled: Filled) -> None:
    dice = random.Random(5)
    lines: list[bytes] = []
    for step in range(600):
        size = dice.choice([1, 10, 100, 3000, 30_000, 70_000])
        new = [b"%d " % (len(lines) + n) + b"x" * size for n in range(dice.choice([1, 1, 2, 5]))]
        filled.write("web", b"".join(line + b"\n" for line in new), float(step), run=step // 50)
        lines += new
        if dice.random() < 0.05:
            trim(filled, max_bytes=dice.choice([100_000, 500_000, 2_000_000]))
        if dice.random() < 0.02:
            with filled.writer.transaction():
                filled.writer.clean(filled.writer.task("web"))
        if dice.random() < 0.1:
            first, end = filled.reader.bounds("web")
            assert end == len(lines)
            found = read_all(filled.reader, "web")
            assert [line.raw for line in found[1:]] == lines[first + 1 :]
            for line in found[:1]:  # of a line over several chunks the beginning may be gone
                assert lines[first].endswith(line.raw)
                assert len(line.raw) + line.cut == len(lines[first])
