"""The plain text copy of a log: complete, rotated, mended after kills."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paneview.store.engine import Attachment, IngestEngine
from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits, TextFile
from paneview.store.upkeep import TEXT_RETRY
from tests.harness import wait_until
from tests.store.helpers import Pipe, settle

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z([ ~])(.*)\Z")


def texts(path: Path, files: int = 1) -> list[str]:
    """What the files hold, oldest first, without the stamps."""
    lines = []
    for number in range(files - 1, -1, -1):
        file = path if number == 0 else path.with_name(f"{path.name}.{number}")
        if file.exists():
            lines += file.read_text().splitlines()
    found = [STAMP.match(line) for line in lines]
    assert all(found), lines
    return [match[2] for match in found if match]


def has(path: Path, lines: int) -> bool:
    """Whether there are so many, the last one whole: a long one may be seen while it is being written."""
    return path.exists() and path.read_bytes().count(b"\n") == lines


def ends(path: Path, last: int) -> bool:
    """Whether this is the file's last line by now."""
    try:
        return path.read_bytes().endswith((b" %d\n" % last, b"~%d\n" % last))
    except FileNotFoundError:  # just being rotated
        return False


def limits(path: Path, max_size: int = 10_000_000, max_files: int = 3) -> LogLimits:
    return LogLimits(max_bytes=None, text=TextFile(path, max_size, max_files))


def test_lines_are_written_plain_with_their_time(ingest: LogIngest, spool: Path, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    ingest.attach(1, "web", limits(path))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"\x1b[31mred\x1b[0m\r\n10%\r20%\r\nx\x00y\nno newline yet")
        wait_until(lambda: has(path, 3))
        assert texts(path) == ["red", "20%", "xy"]
        assert path.stat().st_mode & 0o777 == 0o600
        pipe.write(b", now\n" + b"z" * 100_000 + b"\n")
        wait_until(lambda: has(path, 5))
        assert texts(path)[3] == "no newline yet, now"
        assert texts(path)[4] == "z" * 65_536 + " … 34464 more bytes"


def test_files_are_rotated_at_whole_lines(ingest: LogIngest, spool: Path, tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    ingest.attach(1, "web", limits(path, max_size=10_000, max_files=4))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"".join(b"%d\n" % number for number in range(3000)))
        wait_until(lambda: ends(path, 2999))
    found = [int(text) for text in texts(path, 4)]
    assert found == list(range(found[0], 3000))
    sizes = [path.with_name(f"web.log.{number}").stat().st_size for number in (1, 2, 3)]
    assert all(9_900 < size <= 10_000 for size in sizes)
    assert not path.with_name("web.log.4").exists()


def test_one_file_begins_anew(ingest: LogIngest, spool: Path, tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    ingest.attach(1, "web", limits(path, max_size=1_000, max_files=1))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"".join(b"%d\n" % number for number in range(500)))
        wait_until(lambda: ends(path, 499))
    assert path.stat().st_size <= 1_000
    assert [entry.name for entry in tmp_path.glob("web.log*")] == ["web.log"]


def test_a_file_that_someone_took_away_is_begun_anew(ingest: LogIngest, spool: Path, tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    ingest.attach(1, "web", limits(path))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"one\n")
        wait_until(lambda: path.exists() and texts(path) == ["one"])
        ingest.set_limits("web", LogLimits())
        path.rename(tmp_path / "taken")
        ingest.set_limits("web", limits(path))
        pipe.write(b"two\n")
        wait_until(lambda: path.exists() and texts(path) == ["two"])


@pytest.mark.parametrize("how", ["removed", "rotated", "folder", "replaced"])
def test_a_file_that_goes_while_it_is_written_is_begun_anew(
    ingest: LogIngest, spool: Path, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "logs" / "web.log"
    ingest.attach(1, "web", limits(path))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"one\n")
        wait_until(lambda: has(path, 1))
        if how == "removed":
            path.unlink()
        elif how == "folder":
            path.parent.rename(tmp_path / "old")
        else:
            path.rename(path.with_name("web.log.1"))
        if how == "replaced":  # as by a rotation that makes the next file itself
            path.touch(mode=0o640)
        pipe.write(b"two\n")
        wait_until(lambda: has(path, 1))
        assert texts(path) == ["two"]
        pipe.write(b"three\n")
        wait_until(lambda: has(path, 2))
    if how in ("rotated", "replaced"):
        assert texts(path.with_name("web.log.1")) == ["one"]
    assert path.stat().st_mode & 0o777 == (0o640 if how == "replaced" else 0o600)


def test_a_place_that_cannot_be_written_is_told_and_stops_nothing(
    ingest: LogIngest, spool: Path, tmp_path: Path, trouble: list[str | None]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "web.log"
    ingest.attach(1, "web", limits(path))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"one\n")
        wait_until(lambda: trouble)
    assert trouble[0] is not None
    assert trouble[0].startswith(f"cannot write {path}: ")
    ingest.finish(1)
    ingest.drained(1).result(20)


def test_a_full_disk_is_told_by_its_name_and_nothing_is_missing_afterwards(
    logs_db: Path, spool: Path, tmp_path: Path
) -> None:
    path, long = tmp_path / "web.log", b"x" * 700
    engine, limit = IngestEngine(logs_db, spool), resource.getrlimit(resource.RLIMIT_FSIZE)
    engine.open()
    engine.attach(Attachment(1, "web", limits(path), time.time()))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"one\n")
        settle(engine)
        engine.write_texts(0.0)
        pipe.write(long + b"\n")
        settle(engine)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit[1]))  # as on a full disk, a part is written
        try:
            engine.write_texts(1.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        (told,) = engine.take_complaints()
        assert told.startswith(f"cannot write {path}: ")
        engine.write_texts(1.0 + TEXT_RETRY)
    engine.close()
    assert texts(path) == ["one", long.decode()]


def test_the_folder_of_a_project_that_was_moved_is_not_made_again(
    ingest: LogIngest, spool: Path, tmp_path: Path, trouble: list[str | None]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    text = TextFile(old / "logs" / "web.log", owner=old)
    ingest.attach(1, "web", LogLimits(max_bytes=None, text=text))
    with Pipe(spool, 1) as pipe:
        pipe.write(b"one\n")
        wait_until(lambda: has(text.path, 1))
        old.rename(new)
        pipe.write(b"two\n")
        wait_until(lambda: trouble)
    assert str(trouble[0]).startswith(f"cannot write {text.path}: ")
    assert [entry.name for entry in tmp_path.iterdir() if entry.name in ("old", "new")] == ["new"]
    assert texts(new / "logs" / "web.log") == ["one"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_told_and_stops_nothing(
    ingest: LogIngest, spool: Path, tmp_path: Path, trouble: list[str | None], kind: str
) -> None:
    path = tmp_path / "web.log"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    ingest.attach(1, "web", limits(path, max_size=1_000))
    try:
        with Pipe(spool, 1) as pipe:
            pipe.write(b"x\n" * 2000)
            wait_until(lambda: trouble)
        assert trouble[0] == f"cannot write {path}: it is not a regular file"
        ingest.finish(1)
        ingest.drained(1).result(20)
        assert not os.path.lexists(f"{path}.1")
    finally:
        if kind == "pipe":
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # whoever waits for a reader has had one


CHILD = """
import signal, sys
from pathlib import Path
from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits, TextFile
ingest = LogIngest(Path(sys.argv[1]), Path(sys.argv[2]))
ingest.start()
ingest.attach(1, "web", LogLimits(max_bytes=None, text=TextFile(Path(sys.argv[3]), 30_000, 1000)))
print("ready", flush=True)
signal.pause()
"""


def test_kills_leave_each_line_once(logs_db: Path, spool: Path, tmp_path: Path) -> None:
    path = tmp_path / "text" / "web.log"
    dice = random.Random(3)
    number = 0
    with Pipe(spool, 1) as pipe:
        for _ in range(4):
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, logs_db, spool, path], stdout=subprocess.PIPE, text=True
            )
            assert child.stdout
            child.stdout.readline()
            deadline = time.monotonic() + dice.random() * 0.1
            while time.monotonic() < deadline:
                pipe.write(b"".join(b"%d\n" % n for n in range(number, number + 40)))
                number += 40
                time.sleep(0.0005)  # more lines would show nothing more
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
    ingest = LogIngest(logs_db, spool)
    ingest.start()
    ingest.attach(1, "web", LogLimits(max_bytes=None, text=TextFile(path, 30_000, 1000)))
    ingest.finish(1)
    wait_until(lambda: ends(path, number - 1))
    ingest.stop()
    assert [int(text) for text in texts(path, 1000)] == list(range(number))
