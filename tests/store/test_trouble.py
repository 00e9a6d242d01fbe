"""When nothing can be stored: full disks, damaged databases, a process that was stopped, a spool beyond its cap.

The full disk is SQLite's own limit on pages, set on the ingest's connection: the error is the real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from paneview.store.database import StoreError
from paneview.store.ingest import LogIngest
from paneview.store.reader import LogReader
from tests.harness import wait_until
from tests.store.helpers import EVERYTHING, Pipe, read_all


def fill_disk(ingest: LogIngest, pages: int = 1) -> None:
    """From now on the database cannot grow; `pages` of 2**30 let it grow again."""
    ingest._do(lambda: ingest._engine._db.execute(f"PRAGMA max_page_count = {pages}") and None)


def test_a_full_disk_loses_nothing(
    ingest: LogIngest, reader: LogReader, spool: Path, trouble: list[str | None]
) -> None:
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"0\n")
        wait_until(lambda: reader.end("web") == 1)
        fill_disk(ingest)
        pipe.write(b"".join(b"%d\n" % n for n in range(1, 50_000)))
        wait_until(lambda: trouble)
        assert "full" in (trouble[0] or "")
        # Nothing is hidden meanwhile, and a run that begins now is taken in later.
        assert reader.end("web") == 50_000
        ingest.attach(2, "other", EVERYTHING)
        with Pipe(spool, 2) as other:
            other.write(b"0\n")
        fill_disk(ingest, 1 << 30)
        wait_until(lambda: trouble[-1] is None)
        wait_until(lambda: reader.end("other") == 1)
        pipe.write(b"50000\n")
        wait_until(lambda: reader.end("web") == 50_001)
    assert len(trouble) == 2, "told once, and that it is over once"
    lines = read_all(reader, "web")
    assert [int(line.raw) for line in lines] == list(range(50_001))
    assert [line.ts for line in lines] == sorted(line.ts for line in lines)


def test_the_spool_has_a_cap_while_nothing_can_be_stored(
    logs_db: Path, spool: Path, reader: LogReader, trouble: list[str | None]
) -> None:
    ingest = LogIngest(logs_db, spool, on_trouble=trouble.append, spool_cap=300_000)
    ingest.start()
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"first\n")
        wait_until(lambda: (source := reader.lines_of("web")) and source.whole_lines()[1] == 1)
        fill_disk(ingest)
        for _ in range(5):
            pipe.rotate()
            pipe.write(b"x" * 99_999 + b"\n")
        wait_until(lambda: len(list(spool.iterdir())) == 3)
        fill_disk(ingest, 1 << 30)
        wait_until(lambda: trouble and trouble[-1] is None)
        wait_until(lambda: reader.end("web") == 5)
    ingest.stop()
    raws = [line.raw[:60] for line in read_all(reader, "web")]
    assert raws[0] == b"first"
    assert raws[1] == b"[paneview] 200000 bytes of output are missing here: they could not be stored"[:60]
    assert raws[2:] == [b"x" * 60] * 3


def test_a_cleaning_that_nobody_waits_for_any_more_may_fail(
    ingest: LogIngest, trouble: list[str | None]
) -> None:
    gate, over = threading.Event(), threading.Event()
    ingest._do(lambda: gate.wait(20) and None)
    ingest._do(lambda: ingest._engine._db.execute("PRAGMA query_only = ON") and None)
    assert ingest.logs_clean().cancel()
    failing = ingest.logs_clean()
    ingest._do(lambda: ingest._engine._db.execute("PRAGMA query_only = OFF") and over.set())
    gate.set()
    with pytest.raises(StoreError, match="readonly"):
        failing.result(20)
    assert over.wait(20)
    assert trouble == []


def test_a_database_damaged_at_start_is_replaced(logs_db: Path, spool: Path, reader: LogReader) -> None:
    logs_db.write_bytes(b"garbage " * 10_000)
    ingest = LogIngest(logs_db, spool)
    moved = ingest.start()
    assert moved is not None
    assert moved.read_bytes().startswith(b"garbage")
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"line\n")
    ingest.finish(1)
    ingest.drained(1).result(20)
    ingest.stop()
    assert [line.raw for line in read_all(reader, "web")] == [b"line"]


@pytest.mark.parametrize("room", [True, False])
def test_a_database_damaged_while_in_use_is_replaced(
    ingest: LogIngest, reader: LogReader, spool: Path, logs_db: Path, trouble: list[str | None], *, room: bool
) -> None:
    """At once, or as soon as a new one can be made in its place."""
    draft = logs_db.with_name("logs.db.new")
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"x" * 99 + b"\n" * 50_000)
        wait_until(lambda: reader.end("web") == 50_000)
        ingest._do(lambda: ingest._engine._db.execute("PRAGMA cache_size = 0") and None)

        def is_in_the_file() -> bool:
            # What came is written in several steps: an early checkpoint would miss the last.
            ingest._do(
                lambda: ingest._engine._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() and None
            )
            return os.path.getsize(f"{logs_db}-wal") == 0

        wait_until(is_in_the_file, interval=0.05)
        with logs_db.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (logs_db.stat().st_size - 8192))
        if not room:
            draft.mkdir()
        pipe.write(b"after\n")
        wait_until(lambda: trouble)
        if room:
            assert "damaged" in (trouble[0] or "")
        else:
            assert "cannot store logs" in (trouble[0] or "")
            draft.rmdir()
        wait_until(lambda: reader.bounds("web") == (50_000, 50_001))
        assert reader.lines("web", 0, 5)[0].raw == b"after"


STOPPED = """
import sys, time
from pathlib import Path
from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits
ingest = LogIngest(Path(sys.argv[1]), Path(sys.argv[2]))
ingest.start()
ingest.attach(1, "web", LogLimits())
print("ready", flush=True)
sys.stdin.read()
ingest.stop()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs its clock")
def test_times_of_what_came_during_a_stop_are_not_those_of_its_end(
    logs_db: Path, spool: Path, reader: LogReader
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED, logs_db, spool], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin
    assert child.stdout
    child.stdout.readline()
    with Pipe(spool, 1) as pipe:
        pipe.write(b"before\n")
        wait_until(lambda: reader.end("web") == 1 and not reader.tail("web", 1)[0].approx)
        os.kill(child.pid, signal.SIGSTOP)
        begin = time.time()
        pipe.write(b"meanwhile\n")
        time.sleep(3.0)  # longer than any pause of a loop at work
        os.kill(child.pid, signal.SIGCONT)
        source = reader.lines_of("web")
        assert source is not None
        wait_until(lambda: source.whole_lines()[1] == 2)
    child.communicate()
    assert begin - 2 <= reader.tail("web", 1)[0].ts <= begin + 1


def test_a_defect_in_a_command_does_not_end_the_thread(
    ingest: LogIngest, reader: LogReader, spool: Path, trouble: list[str | None]
) -> None:
    def broken() -> None:
        raise ValueError("a defect")

    ingest._do(broken)
    wait_until(lambda: trouble)
    ingest.attach(1, "web", EVERYTHING)
    with Pipe(spool, 1) as pipe:
        pipe.write(b"line\n")
        wait_until(lambda: reader.end("web") == 1)
    wait_until(lambda: trouble[-1] is None)
