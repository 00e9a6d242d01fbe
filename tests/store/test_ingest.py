"""The ingest thread with real pipes: what arrives, under which number, when, and what becomes of the spool."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from paneview.store.database import connect_read_only
from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits
from paneview.store.reader import LogReader
from paneview.store.spool import path_of
from tests.harness import wait_until
from tests.store.helpers import EVERYTHING, Pipe, read_all

Heads = dict[str, int]


def raws(reader: LogReader, task: str = "web") -> list[bytes]:
    return [line.raw for line in read_all(reader, task)]


def stored(reader: LogReader, lines: int, task: str = "web") -> bool:
    """Whether so many whole lines are in the database itself."""
    source = reader.lines_of(task)
    return source is not None and source.whole_lines()[1] >= lines


def over(ingest: LogIngest, run: int) -> None:
    ingest.finish(run)
    ingest.drained(run).result(20)


def test_what_split_writes_is_stored_and_the_spool_removed(
    ingest: LogIngest, reader: LogReader, spool: Path
) -> None:
    ingest.attach(1, "web", EVERYTHING)
    subprocess.run(
        f"seq 1 100000 | split -b 500k -a 6 -d - {spool}/1.", shell=True, check=True, executable="/bin/sh"
    )
    over(ingest, 1)
    assert raws(reader) == [b"%d" % number for number in range(1, 100_001)]
    assert not list(spool.iterdir())


def test_rotated_files_go_while_the_run_lives(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        for number in range(5):
            pipe.write(b"file %d begins\nand goes " % number)
            pipe.rotate()
        pipe.write(b"on\n")
        wait_until(lambda: [path.name for path in spool.iterdir()] == ["1.000005"])
        assert raws(reader)[:2] == [b"file 0 begins", b"and goes file 1 begins"]


def test_a_prompt_shows_at_once_and_keeps_its_number(
    ingest: LogIngest, reader: LogReader, spool: Path
) -> None:
    heads: list[Heads] = []
    ingest.on_progress(lambda ends: heads.append(dict(ends)))
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"first\nname? ")
        wait_until(lambda: heads and heads[-1] == {"web": 2})
        assert raws(reader) == [b"first", b"name? "]
        began = reader.tail("web", 1)[0]
        told = len(heads)
        pipe.write(b"tom")
        wait_until(lambda: len(heads) > told)
        assert heads[-1] == {"web": 2}
        pipe.write(b"\n")
        wait_until(lambda: stored(reader, 2))
        whole = reader.tail("web", 1)[0]
        assert (whole.raw, whole.number) == (b"name? tom", 1)
        assert abs(whole.ts - began.ts) < 0.5
        assert not whole.approx


def test_a_new_run_begins_a_line(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"one\nhalf")
    ingest.finish(1)
    ingest.attach(2, "web", EVERYTHING)
    with Pipe(spool, 2) as pipe:
        pipe.write(b" whole\n")
    over(ingest, 2)
    assert [(line.run, line.raw) for line in read_all(reader, "web")] == [
        (1, b"one"),
        (1, b"half"),
        (2, b" whole"),
    ]
    assert [(run.run, run.first, run.end) for run in reader.runs("web")] == [(1, 0, 2), (2, 2, 3)]


def test_runs_are_in_order_even_if_the_later_one_is_seen_first(
    ingest: LogIngest, reader: LogReader, spool: Path
) -> None:
    with Pipe(spool, 1) as first, Pipe(spool, 2) as second:
        second.write(b"of the second\n")
        first.write(b"of the first\n" * 50_000)
    ingest.recover({1: "web", 2: "web"})
    ingest.drained(2).result(20)
    ingest.drained(1).result(20)
    assert raws(reader) == [b"of the first"] * 50_000 + [b"of the second"]


def test_notes_stand_where_they_were_written(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    ingest.attach(1, "web", EVERYTHING)
    ingest.append(1, "web", b"hook: before")
    with Pipe(spool, 1) as pipe:
        pipe.write(b"working\nhow? ")
        wait_until(lambda: reader.end("web") == 3)
        ingest.append(1, "web", b"hook: now\nhook: more\n")
        wait_until(lambda: reader.end("web") == 5)
        pipe.write(b"so\n")
    over(ingest, 1)
    assert raws(reader) == [b"hook: before", b"working", b"how? ", b"hook: now", b"hook: more", b"so"]


def test_a_note_of_an_earlier_run_moves_no_line_that_has_been_shown(
    ingest: LogIngest, reader: LogReader, spool: Path
) -> None:
    with Pipe(spool, 1) as pipe:
        pipe.write(b"first\n")
    ingest.attach(1, "web", EVERYTHING)
    over(ingest, 1)
    ingest.attach(2, "web")
    with Pipe(spool, 2) as pipe:
        pipe.write(b"second\nthird\n")
        wait_until(lambda: reader.end("web") == 3)
        ingest.append(1, "web", b"hook: slow")
        wait_until(lambda: reader.end("web") == 4)
        assert raws(reader) == [b"first", b"second", b"third", b"hook: slow"]
    over(ingest, 2)
    assert [line.run for line in read_all(reader, "web")] == [1, 2, 2, 1]


def test_hostile_output_is_stored_as_it_is(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    lines = [
        b"nul \0 byte",
        b"broken \xff\xfe\xc3( utf-8",
        b"x" * 1_500_000,
        b"".join(b"\r%3d%%" % percent for percent in range(101)),
        b"\x1b[?1049h\x1b[2J full screen \x1b[?1049l",
        b"\x1b]0;title\x07after",
    ]
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        for line in lines:
            pipe.write(line + b"\r\n")
    over(ingest, 1)
    found = reader.lines("web", 0, 10, max_bytes=2_000_000)
    assert [line.raw.rstrip(b"\r") + bytes(line.cut) for line in found][:2] == lines[:2]
    assert [line.raw for line in found[3:]] == [line + b"\r" for line in lines[3:]]
    # Of one line a megabyte is given at most, and what is missing is told.
    assert len(found[2].raw) == 1 << 20
    assert len(found[2].raw) + found[2].cut == len(lines[2]) + 1
    short = reader.lines("web", 2, 1)[0]
    assert len(short.raw) == 16 * 1024
    assert len(short.raw) + short.cut == len(lines[2]) + 1


def test_a_flood_does_not_hold_up_another_task(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    told: list[Heads] = []
    ingest.on_progress(lambda ends: told.append(dict(ends)))
    with Pipe(spool, 1) as flood, Pipe(spool, 2) as calm:
        flood.write(b"flood and more flood\n" * 1_000_000)
        calm.write(b"calm\n")
        ingest.attach(1, "flood", EVERYTHING)
        ingest.attach(2, "calm", EVERYTHING)
        wait_until(lambda: stored(reader, 1_000_000, "flood"))
        wait_until(lambda: stored(reader, 1, "calm"))
    first = next(ends for ends in told if "calm" in ends)
    assert first["calm"] == 1
    assert first.get("flood", 0) < 500_000


def test_progress_is_told_sixty_times_a_second_at_most(ingest: LogIngest, spool: Path) -> None:
    calls: list[Heads] = []
    ingest.on_progress(lambda ends: calls.append(dict(ends)))
    ingest.attach(1, "web", EVERYTHING)
    begin = time.monotonic()
    with Pipe(spool, 1) as pipe:
        for _ in range(1000):
            pipe.write(b"line\n")
            time.sleep(0.0003)
        wait_until(lambda: calls and calls[-1] == {"web": 1000})
    assert len(calls) <= (time.monotonic() - begin) * 60 + 2


def test_runs_that_begin_together_are_taken_in_together(
    ingest: LogIngest, reader: LogReader, spool: Path
) -> None:
    for run in range(1, 51):
        ingest.announce(run, f"task{run % 10}", EVERYTHING)
    with Pipe(spool, 50) as pipe:
        pipe.write(b"the last to come is the first to print\n")
        wait_until(lambda: stored(reader, 1, "task0"))
    wait_until(lambda: len(reader.tasks()) == 10)
    for run in range(1, 51):
        ingest.finish(run)
    for run in range(1, 51):
        ingest.drained(run).result(20)
    assert [span.run for span in reader.runs("task0")] == [50]


def test_a_run_without_output_is_drained_at_once(ingest: LogIngest, spool: Path) -> None:
    ingest.attach(1, "web", EVERYTHING)
    over(ingest, 1)
    ingest.drained(99).result(5)


def test_the_spool_stays_while_someone_may_still_write(
    ingest: LogIngest, reader: LogReader, spool: Path
) -> None:
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"early\n")
        ingest.finish(1)
        ingest.drained(1).result(20)  # not for ever, whoever holds the pipe
        assert path_of(spool, 1, (0, 0)).exists()
        pipe.write(b"late\n")
        wait_until(lambda: stored(reader, 2))
    wait_until(lambda: not list(spool.iterdir()))
    assert raws(reader) == [b"early", b"late"]


def test_bytes_behind_a_finished_run_are_taken_in_by_the_next_start(
    logs_db: Path, spool: Path, reader: LogReader
) -> None:
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"before\n")
    over(ingest, 1)
    ingest.stop()
    with Pipe(spool, 1) as pipe:
        pipe.rotate()
        pipe.write(b"x")  # opens the file of number 0 again
    path_of(spool, 1, (0, 0)).rename(path_of(spool, 1, (0, 1)))
    again = LogIngest(logs_db, spool)
    again.start()
    again.drained(1).result(20)
    again.stop()
    assert raws(reader) == [b"before", b"x"]
    assert not list(spool.iterdir())


def test_what_comes_right_after_a_backlog_has_its_own_time(
    ingest: LogIngest, reader: LogReader, spool: Path
) -> None:
    heads: list[Heads] = []
    ingest.on_progress(lambda ends: heads.append(dict(ends)))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"before it was attached\n")
        ingest.attach(1, "web", EVERYTHING)
        wait_until(lambda: heads == [{"web": 1}])
        begin = time.time()
        wait_until(lambda: time.time() > begin + 0.1)
        pipe.write(b"a tenth later\n")
        wait_until(lambda: stored(reader, 2))
    first, second = read_all(reader, "web")
    assert first.ts <= begin < begin + 0.09 < second.ts


def test_times_of_what_came_meanwhile_are_bracketed(logs_db: Path, spool: Path, reader: LogReader) -> None:
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"seen\n")
        wait_until(lambda: stored(reader, 1))
        ingest.stop()
        seen = reader.tail("web", 1)[0]
        pipe.write(b"unseen\n" * 4)
        os.utime(path_of(spool, 1, (0, 0)), (seen.ts + 100, seen.ts + 100))
        again = LogIngest(logs_db, spool)
        again.start()
        again.attach(1, "web", EVERYTHING)
        wait_until(lambda: stored(reader, 5))
        pipe.write(b"seen again\n")
        wait_until(lambda: stored(reader, 6))
        again.stop()
    lines = read_all(reader, "web")
    assert [line.approx for line in lines] == [False, True, True, True, True, False]
    times = [line.ts for line in lines[:5]]
    assert times == sorted(times)  # in proportion to the bytes
    assert seen.ts <= times[1] < times[4] <= seen.ts + 100


def test_unknown_runs_wait_until_they_are_known(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    with Pipe(spool, 5) as pipe:
        pipe.write(b"from before\n")
    ingest.attach(6, "other", EVERYTHING)
    over(ingest, 6)
    assert reader.tasks() == ["other"]
    assert path_of(spool, 5, (0, 0)).exists()
    ingest.recover({5: "web"})
    ingest.drained(5).result(20)
    assert raws(reader) == [b"from before"]
    assert not list(spool.iterdir())


def test_a_lost_spool_file_is_passed_over(ingest: LogIngest, reader: LogReader, spool: Path) -> None:
    with Pipe(spool, 1) as pipe:
        for number in range(3):
            pipe.write(b"file %d\n" % number)
            pipe.rotate()
    path_of(spool, 1, (0, 0)).unlink()
    ingest.attach(1, "web", EVERYTHING)
    over(ingest, 1)
    assert raws(reader) == [b"file 1", b"file 2"]


def test_foreign_files_in_the_spool_are_left_alone(ingest: LogIngest, spool: Path) -> None:
    (spool / "notes.txt").write_text("mine")
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"line\n")
    over(ingest, 1)
    assert [path.name for path in spool.iterdir()] == ["notes.txt"]


def test_databases_are_private(ingest: LogIngest, logs_db: Path, spool: Path) -> None:
    ingest.attach(1, "web", LogLimits())
    over(ingest, 1)
    for path in logs_db.parent.glob("logs.db*"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert {path.suffix for path in logs_db.parent.glob("logs.db*")} >= {".db", ".db-wal"}


@pytest.mark.parametrize("size", [0, 1, 5000, 70_000])
def test_small_writes_become_few_chunks(
    ingest: LogIngest, reader: LogReader, spool: Path, logs_db: Path, size: int
) -> None:
    ingest.attach(1, "web", EVERYTHING)
    line = b"x" * size + b"\n"
    count = 300_000 // max(size, 100)
    with Pipe(spool, 1) as pipe:
        for number in range(1, count + 1):
            pipe.write(line)
            wait_until(lambda wanted=number: reader.end("web") == wanted)  # type: ignore[misc]
    over(ingest, 1)
    assert raws(reader) == [line[:-1]] * count
    with closing(connect_read_only(logs_db)) as database:
        (chunks,) = database.execute("SELECT count(*) FROM chunk").fetchone()
    assert chunks <= 3 + len(line) * count / 32_000  # one more where this process was held up for seconds


def test_runs_without_spool_are_not_looked_for_again(logs_db: Path, spool: Path, reader: LogReader) -> None:
    def unfinished() -> list[int]:
        with closing(connect_read_only(logs_db)) as database:
            return [run for (run,) in database.execute("SELECT id FROM run WHERE finished = 0 ORDER BY id")]

    ingest = LogIngest(logs_db, spool)
    ingest.start()
    ingest.append(1, "web", b"the hook failed, nothing was spawned")
    ingest.attach(2, "web", EVERYTHING)
    ingest.attach(3, "web", EVERYTHING)
    with Pipe(spool, 3) as pipe:
        pipe.write(b"half a line")
        wait_until(lambda: reader.end("web") == 2)
        ingest.stop()
        assert unfinished() == [2, 3]
        again = LogIngest(logs_db, spool)
        again.start()
        wait_until(lambda: unfinished() == [3])
        again.attach(2, "web", EVERYTHING)
        wait_until(lambda: unfinished() == [2, 3])
        again.stop()
