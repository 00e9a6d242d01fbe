"""The spool's files, their order, and who writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from paneview.store import spool as names
from paneview.store.spool import RunFiles, parse_name, path_of, prefix
from paneview.store.watch import InotifyWatch, PollWatch, Watch, watch_folder
from tests.harness import wait_until
from tests.store.helpers import Pipe

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells by itself")


def test_names_say_run_attachment_and_order(spool: Path) -> None:
    assert prefix(spool, 12).name + "000003" == path_of(spool, 12, (0, 3)).name == "12.000003"
    assert prefix(spool, 12, 1).name + "000000" == path_of(spool, 12, (1, 0)).name == "12.1.000000"
    for key in [(0, 0), (0, 999_999), (3, 7)]:
        assert parse_name(path_of(spool, 12, key).name) == (12, key)
    for foreign in ["12", "12.log", "x.000001", "12.000001.gz", "12.1.2.000001", ""]:
        assert parse_name(foreign) is None


def test_a_run_is_read_as_one_stream(spool: Path) -> None:
    with Pipe(spool, 1) as pipe:
        for part in (b"one ", b"two ", b"three"):
            pipe.write(part)
            pipe.rotate()
    run = RunFiles(spool, 1)
    block = run.read((0, 0), 2, 100)
    assert (block.data, block.at_end, block.end) == (b"e two three", True, ((0, 2), 5))
    assert block.position(1) == ((0, 0), 3)
    assert block.position(2) == ((0, 1), 0)
    assert block.position(7) == ((0, 2), 1)
    short = run.read((0, 0), 0, 6)
    assert (short.data, short.at_end, short.end) == (b"one tw", False, ((0, 1), 2))
    upto = block.until(((0, 1), 2))
    assert (upto.data, upto.at_end, upto.end) == (b"e tw", True, ((0, 1), 2))
    run.close()


def test_what_is_read_at_once_is_as_much_as_there_was(spool: Path) -> None:
    run, first, second = RunFiles(spool, 1), os.urandom(300_000), os.urandom(200_000)
    with Pipe(spool, 1) as pipe:
        pipe.write(first)
        pipe.rotate()
        pipe.write(second)
        block = run.read((0, 0), 0, 1 << 20)
        assert (block.data, block.at_end, block.end) == (first + second, True, ((0, 1), 200_000))
        assert [extent.size for extent in block.extents] == [300_000, 200_000]
        pipe.write(b"more")
    more = run.read(*block.end, 1 << 20)
    assert (more.data, more.at_end) == (b"more", True)
    run.close()


def test_a_block_does_not_reach_over_a_gap(spool: Path) -> None:
    with Pipe(spool, 1) as pipe:
        pipe.write(b"before the gap")
        pipe.jump()
        pipe.write(b"between")
        pipe.attach_again()
        pipe.write(b"after it")
    run = RunFiles(spool, 1)
    block = run.read((0, 0), 0, 100)
    assert (block.data, block.at_end, block.following) == (b"before the gap", True, (0, 1000))
    block = run.read((0, 1000), 0, 100)
    assert (block.data, block.at_end, block.following) == (b"between", True, (1, 0))
    assert run.read((1, 0), 0, 100).data == b"after it"
    assert names.next_attach(spool, 1) == 2
    assert names.next_attach(spool, 99) == 1
    run.close()


def test_a_run_whose_first_pipe_wrote_nothing(spool: Path) -> None:
    run = RunFiles(spool, 1)
    assert run.read((0, 0), 0, 100).following is None
    (spool / "1.1.001000").write_bytes(b"text")
    assert run.read((0, 0), 0, 100).following == (1, 1000)
    assert run.read((1, 1000), 0, 100).data == b"text"
    run.close()


@linux
def test_a_writer_is_known_by_the_open_file(spool: Path) -> None:
    run = RunFiles(spool, 1)
    assert run.has_writer((0, 0)) is None
    with Pipe(spool, 1) as pipe:
        pipe.write(b"x")
        assert run.has_writer((0, 0)) is True
    assert run.has_writer((0, 0)) is False
    # The question leaves nothing behind that would hold a writer up.
    os.close(os.open(path_of(spool, 1, (0, 0)), os.O_WRONLY | os.O_NONBLOCK))
    run.close()


@linux
def test_a_writer_without_file_is_known_by_its_command_line(spool: Path) -> None:
    split = subprocess.Popen(
        ["split", "-b", "16m", "-a", "6", "-d", "-", prefix(spool, 7)], stdin=subprocess.PIPE
    )
    assert split.stdin
    wait_until(lambda: names.is_named(prefix(spool, 7), names.command_lines() or []))
    assert not names.is_named(prefix(spool, 77), names.command_lines() or [])
    split.stdin.close()
    split.wait()
    assert not names.is_named(prefix(spool, 7), names.command_lines() or [])


@pytest.mark.parametrize("kind", [pytest.param(InotifyWatch, marks=linux), PollWatch])
def test_a_watch_tells_what_changed(spool: Path, kind: type[InotifyWatch | PollWatch]) -> None:
    watch: Watch = kind(spool)
    assert not watch.changed()
    with Pipe(spool, 1) as pipe:
        pipe.write(b"x")
        assert watch.changed() == {"1.000000"}
        assert not watch.changed()
        pipe.write(b"y")
        assert watch.changed() == {"1.000000"}
    watch.close()


@linux
def test_an_overflow_asks_for_a_look_at_all(spool: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    watch = watch_folder(spool)
    assert isinstance(watch, InotifyWatch)
    with Pipe(spool, 1) as one, Pipe(spool, 2) as two:
        for _ in range(limit // 2 + 10):  # alternating, for the kernel merges what repeats
            one.write(b"x")
            two.write(b"x")
    assert watch.changed() is None
    assert watch.changed() == set()
    watch.close()
