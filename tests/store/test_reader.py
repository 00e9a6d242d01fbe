"""Reading: without a supervisor, beside a working one, and over databases that come and go."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from paneview.store.database import StoreError
from paneview.store.engine import IngestEngine
from paneview.store.ingest import LogIngest
from paneview.store.overlay import Overlay
from paneview.store.reader import LogReader
from paneview.store.spool import path_of
from tests.harness import wait_until
from tests.store.helpers import EVERYTHING, Filled, Pipe, read_all


def stored_by_one_life(logs_db: Path, spool: Path, *runs: int) -> None:
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    for run in runs or (1,):
        ingest.attach(run, "web", EVERYTHING)
    ingest.stop()


def test_a_log_that_does_not_exist_is_empty(reader: LogReader) -> None:
    assert reader.tasks() == []
    assert reader.bounds("web") == (0, 0)
    assert reader.runs("web") == []
    assert reader.lines("web", 0, 10) == []
    assert reader.tail("web", 10) == []


def test_the_spool_is_read_while_no_supervisor_lives(logs_db: Path, spool: Path, reader: LogReader) -> None:
    stored_by_one_life(logs_db, spool)
    with Pipe(spool, 1) as pipe:
        for number in range(30_000):
            pipe.write(b"line %d\n" % number)
            if number % 7_000 == 0:
                pipe.rotate()
        assert reader.bounds("web") == (0, 30_000)
        assert [line.raw for line in reader.lines("web", 12_345, 2)] == [b"line 12345", b"line 12346"]
        pipe.write(b"name? ")
        assert reader.tail("web", 1)[0].raw == b"name? "
        pipe.write(b"tom\nnext\n")
        assert [line.raw for line in reader.tail("web", 3)] == [b"line 29999", b"name? tom", b"next"]
        assert [(run.run, run.first, run.end) for run in reader.runs("web")] == [(1, 0, 30_002)]
    before = [(line.number, line.raw) for line in read_all(reader, "web")]
    stored_by_one_life(logs_db, spool)
    assert [(line.number, line.raw) for line in read_all(reader, "web")] == before


def test_an_unfinished_line_keeps_the_time_at_which_it_was_first_seen(
    logs_db: Path, spool: Path, reader: LogReader
) -> None:
    stored_by_one_life(logs_db, spool)

    def seen() -> list[tuple[float, bytes]]:
        return [(line.ts, line.raw) for line in read_all(reader, "web")]

    with Pipe(spool, 1) as pipe:
        for moment, data in enumerate((b"one\ntwo ", b"more ", b"done\nthree\nfour ", b"done\n"), start=1):
            pipe.write(data)
            os.utime(path_of(spool, 1, (0, 0)), (moment, moment))
            found = seen()
            assert found == seen()
        assert found == [(1, b"one"), (1, b"two more done"), (3, b"three"), (3, b"four done")]
        pipe.write(b"five ")
        os.utime(path_of(spool, 1, (0, 0)), (5, 5))
        assert seen()[-1] == (5, b"five ")
        stored_by_one_life(logs_db, spool)  # all but the unfinished line
        pipe.write(b"more ")
        os.utime(path_of(spool, 1, (0, 0)), (6, 6))
        assert seen()[-1] == (5, b"five more ")


def test_only_a_moment_s_lines_in_the_spool_have_an_exact_time(
    logs_db: Path, spool: Path, reader: LogReader
) -> None:
    stored_by_one_life(logs_db, spool)

    def written(data: bytes, later: float) -> float:
        pipe.write(data)
        moment = time.time() + later
        os.utime(path_of(spool, 1, (0, 0)), (moment, moment))
        return moment

    with Pipe(spool, 1) as pipe:
        written(b"stored\n", 0)
        stored_by_one_life(logs_db, spool)
        stored = reader.tail("web", 1)[0]
        changed = written(b"some time\nlater\nthe last\n", 0.3)
        first, second, last = reader.tail("web", 3)
        assert (first.approx, second.approx, last.approx) == (True, True, False)
        assert stored.ts - 0.01 <= first.ts <= second.ts <= last.ts
        assert abs(last.ts - changed) < 1e-3
        written(b"a line\nand one at once\n", 0.01)
        assert [line.approx for line in reader.tail("web", 5)] == [True, True, False, False, False]


def test_beside_the_ingest_what_is_not_stored_has_the_times_that_will_be(
    logs_db: Path, spool: Path, reader: LogReader
) -> None:
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    beside = LogReader(logs_db, spool, ingest.known_times)
    ingest.announce(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        for number in range(3):
            begin = time.time()
            pipe.write(b"one\ntwo\nthr" if number == 1 else b"ee\n" if number else b"zero\nnil\n")
            wait_until(lambda: (ingest.known_times(1) or (0, 0, 0))[2] == len(pipe.written))
            wait_until(lambda begin=begin: time.time() > begin + 0.07)
        seen, told = read_all(beside, "web"), read_all(reader, "web")
        assert beside.lines_of("web").whole_lines()[1] == 0, "nothing is stored yet"
    ingest.stop()
    stored = read_all(reader, "web")
    beside.close()
    assert [line.approx for line in seen] == [False] * 5
    assert [line.approx for line in told] == [True] * 4 + [False], "another process cannot know"
    assert [line.ts for line in seen] == pytest.approx([line.ts for line in stored], abs=0.002)
    assert seen[0].ts == seen[1].ts < seen[2].ts - 0.05


def test_several_runs_in_the_spool_are_read_in_order(logs_db: Path, spool: Path, reader: LogReader) -> None:
    stored_by_one_life(logs_db, spool, 1, 2)
    with Pipe(spool, 1) as first, Pipe(spool, 2) as second:
        second.write(b"two\n")
        first.write(b"one\nhalf")
    assert [(line.run, line.raw) for line in read_all(reader, "web")] == [
        (1, b"one"),
        (1, b"half"),
        (2, b"two"),
    ]
    assert [(run.run, run.first, run.end) for run in reader.runs("web")] == [(1, 0, 2), (2, 2, 3)]


def test_what_comes_while_a_log_is_read_does_not_follow_a_line_that_lacked_its_end(
    logs_db: Path, spool: Path, reader: LogReader
) -> None:
    stored_by_one_life(logs_db, spool)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"whole\nha")
        log = reader.lines_of("web")
        assert log is not None
        reading = log.forward(0)
        bodies = [next(reading).body, next(reading).body]
        pipe.write(b"lf\nnext\n")
        assert [*bodies, *(piece.body for piece in reading)] == [b"whole\n", b"ha"]
        assert [line.raw for line in reader.lines("web", 1, 2)] == [b"half", b"next"]


def test_reading_beside_a_working_ingest_never_sees_a_gap(logs_db: Path, spool: Path) -> None:
    """Hundreds of looks while lines move from the spool into the database and chunks merge."""
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    ingest.attach(1, "web", EVERYTHING)
    stop = threading.Event()

    def write() -> None:
        number = 0
        with Pipe(spool, 1) as pipe:
            while not stop.is_set():
                pipe.write(b"".join(b"%d\n" % n for n in range(number, number + 50)))
                number += 50
                if number % 20_000 == 0:
                    pipe.rotate()
                if number % 1_000 == 0:
                    stop.wait(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with LogReader(logs_db, spool) as reader:
            end = 0
            for _ in range(500):
                before, end = end, reader.end("web")
                assert end >= before
                lines = reader.lines("web", max(end - 100, 0), 100)
                assert [line.raw for line in lines[:-1]] == [b"%d" % line.number for line in lines[:-1]]
                # Of which a part may be written: a write that is under way is seen by page.
                for newest in lines[-1:]:
                    assert (b"%d" % newest.number).startswith(newest.raw)
                assert len(lines) >= min(end, 100)
    finally:
        stop.set()
        writer.join()
        ingest.stop()


@pytest.mark.parametrize(("what", "answer"), [("body", None), ("reached", False)])
def test_a_log_that_moves_on_at_every_look_is_told_and_not_read_wrongly(
    logs_db: Path, spool: Path, reader: LogReader, monkeypatch: pytest.MonkeyPatch, what: str, answer: object
) -> None:
    stored_by_one_life(logs_db, spool)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"line\n")
        with monkeypatch.context() as moving:
            moving.setattr(Overlay, what, lambda _self, _of: answer)
            with pytest.raises(StoreError, match="ask again"):
                reader.lines("web", 0, 1)
        assert [line.raw for line in reader.lines("web", 0, 1)] == [b"line"]


def test_a_database_moved_aside_is_left_for_its_successor(filled: Filled) -> None:
    filled.write("web", b"old\n")
    assert filled.reader.end("web") == 1
    filled.path.rename(filled.path.with_name("aside"))
    other = IngestEngine(filled.path, filled.spool)
    other.open()
    other.close()
    assert filled.reader.tasks() == []


def test_garbage_is_a_clear_error(logs_db: Path, reader: LogReader) -> None:
    logs_db.write_bytes(b"garbage " * 1000)
    with pytest.raises(StoreError, match=r"cannot read .*logs\.db"):
        reader.tasks()


def test_lines_are_cut_to_what_was_asked_for(filled: Filled) -> None:
    filled.write("web", b"0123456789\n" + b"10%\r20%\r30%\r\n")
    cut, redrawn = filled.reader.lines("web", 0, 2, max_bytes=6)
    assert (cut.raw, cut.cut) == (b"012345", 4)
    # Of a line that redraws itself its last state is wanted, not its first.
    assert (redrawn.raw, redrawn.cut) == (b"30%\r", 8)
    assert filled.reader.lines("web", 0, 1, max_bytes=0)[0].raw == b""


def test_asking_beyond_the_log_gives_what_there_is(filled: Filled) -> None:
    filled.write("web", b"a\nb\nc")
    assert [line.raw for line in filled.reader.lines("web", 1, 100)] == [b"b", b"c"]
    assert filled.reader.lines("web", 3, 5) == []
    assert filled.reader.lines("web", 1, 0) == []
    assert [line.raw for line in filled.reader.tail("web", 100)] == [b"a", b"b", b"c"]


def test_each_line_has_its_own_time(filled: Filled) -> None:
    for second in range(100):
        filled.write("web", b"a\nb\n", 1000.0 + second)
    lines = read_all(filled.reader, "web")
    assert [line.ts for line in lines] == [1000.0 + number // 2 for number in range(200)]
    filled.write("web", b"x" * 40_000 + b"\n", 2000.0)  # now the small chunks are merged
    assert [line.ts for line in read_all(filled.reader, "web")][:200] == [line.ts for line in lines]


def test_a_clock_that_steps_back_harms_nothing(filled: Filled) -> None:
    for ts in (1000.0, 1001.0, 500.0, 501.0, 1002.0):
        filled.write("web", b"%d\n" % ts, ts)
    assert [line.ts for line in read_all(filled.reader, "web")] == [1000.0, 1001.0, 500.0, 501.0, 1002.0]


def test_progress_is_seen_at_once_by_another_thread(
    ingest: LogIngest, spool: Path, reader: LogReader
) -> None:
    seen: list[int] = []
    ingest.on_progress(lambda ends: seen.append(ends["web"]))
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        for number in range(1, 20):
            pipe.write(b"line\n")
            wait_until(lambda wanted=number: seen and seen[-1] == wanted)  # type: ignore[misc]
            assert reader.end("web") == number
