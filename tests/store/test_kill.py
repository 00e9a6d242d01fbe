"""kill -9 of the ingest at random instants, real processes throughout: every byte once, in order, under its number."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paneview.store.ingest import LogIngest
from paneview.store.reader import LogReader
from tests.harness import wait_until
from tests.store.helpers import EVERYTHING, read_all

# Writes lines of all sizes in bursts and trickles until its standard input ends; ends inside a line.
CHATTER = """
import os, random, select, sys
dice = random.Random(int(sys.argv[1]))
number = 0
while not select.select([0], [], [], dice.choice([0, 0, 0, 0.001, 0.01]))[0]:
    for _ in range(dice.choice([1, 1, 3, 300])):
        number += 1
        line = b"%d " % number + b"x" * dice.choice([0, 5, 80, 300])
        if dice.random() < 0.0005:
            line += b"y" * 200_000
        os.write(1, line + (b"" if dice.random() < 0.02 else dice.choice([b"\\n", b"\\r\\n"])))
os.write(1, b"the end")
"""


@contextmanager
def writer(folder: Path, spool: Path, seed: int) -> Iterator[subprocess.Popen[bytes]]:
    """What a pane is to the spool: a program's output through `split`, and beside it a faithful copy."""
    spool.mkdir()
    program = subprocess.Popen(
        [sys.executable, "-c", CHATTER, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    copy = subprocess.Popen(["tee", folder / "source"], stdin=program.stdout, stdout=subprocess.PIPE)
    split = subprocess.Popen(["split", "-b", "512k", "-a", "6", "-d", "-", f"{spool}/1."], stdin=copy.stdout)
    assert program.stdin
    assert program.stdout
    assert copy.stdout
    program.stdout.close()
    copy.stdout.close()
    try:
        yield program
    finally:
        program.stdin.close()
        for process in (program, copy, split):
            process.wait()


def kill_again_and_again(folder: Path, times: int, seed: int) -> int:
    """Run the writer while ingests are begun and killed; say how many kills hit an ingest at work."""
    dice = random.Random(seed)
    path, spool = folder / "logs.db", folder / "spool"
    hits = 0
    nursery = subprocess.Popen(
        [sys.executable, "-m", "tests.store.nursery", path, spool],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert nursery.stdin
    assert nursery.stdout
    with writer(folder, spool, seed), nursery, LogReader(path, spool) as reader:
        seen = 0
        for number in range(times):
            nursery.stdin.write(dice.choice(["go\n", "go\n", "note\n"]))
            pid = int(nursery.stdout.readline())
            # Where the disk is so busy that none gets as far as to begin, the next has a little more time.
            more = 0.0 if hits else 0.01 * number
            time.sleep(dice.choice([0.0, 0.005, 0.02, 0.08]) * dice.random() + more)
            os.kill(pid, signal.SIGKILL)
            end = reader.end("task")
            assert end >= seen
            hits += end > seen
            seen = end
    return hits


def verify(folder: Path) -> None:
    """After a last ingest, log and source are the same, and the spool is empty."""
    path, spool = folder / "logs.db", folder / "spool"
    with LogReader(path, spool) as reader:
        unstored = [(line.number, line.raw) for line in read_all(reader, "task")]
        ingest = LogIngest(path, spool)
        ingest.start()
        ingest.attach(1, "task", EVERYTHING)
        ingest.finish(1)
        ingest.drained(1).result(20)
        ingest.stop()
        lines = read_all(reader, "task")
        assert [(line.number, line.raw) for line in lines] == unstored
    source = (folder / "source").read_bytes()
    notes = [line for line in lines if line.raw == b"note"]
    if not notes:
        assert b"\n".join([line.raw for line in lines]) == source
    # A note ends the line it interrupts.
    assert b"".join([line.raw for line in lines if line.raw != b"note"]) == source.replace(b"\n", b"")
    wait_until(lambda: not list(spool.iterdir()))


def test_every_line_once_whatever_is_killed_when(tmp_path: Path) -> None:
    assert kill_again_and_again(tmp_path, 40, seed=7) > 0
    verify(tmp_path)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.timeout(300)
def test_every_line_once_in_a_thousand_kills(tmp_path: Path, seed: int) -> None:
    assert kill_again_and_again(tmp_path, 400, seed) > 50
    verify(tmp_path)
