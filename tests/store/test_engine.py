"""Properties of ingest and reading together, over random writes, rotations, kills, notes and restarts.

The engine is driven step by step in this thread; a kill is an engine that is dropped between two steps (what a kill
inside a step leaves is tested with real kills in test_kill).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from paneview.store import storing
from paneview.store.engine import Attachment, IngestEngine
from paneview.store.limits import LogLimits
from paneview.store.reader import Line, LogReader
from paneview.store.spool import end_of
from tests.store.helpers import EVERYTHING, Pipe, read_all, settle

WRITES = st.one_of(
    st.tuples(st.just("write"), st.binary(max_size=40)),
    st.tuples(
        st.just("write"), st.sampled_from([b"line\n", b"b\r\n", b"\n", b"prompt> ", b"\x1b[31mred\x1b[0m\n"])
    ),
    st.tuples(st.just("lines"), st.integers(1, 1200)),
    st.tuples(st.just("long"), st.integers(60_000, 150_000)),
    st.tuples(st.just("flood"), st.integers(250_000, 280_000)),
)
OTHERS = st.sampled_from(
    ["rotate", "again", "jump", "turn", "turn", "look", "look", "kill", "note", "late note", "next run"]
)
STEPS = st.one_of(WRITES, WRITES, st.tuples(OTHERS, st.just(0)))
Step = tuple[str, bytes | int]
# With no span: no chunk grows or is merged but at one time.
FOR_AGES = LogLimits(max_bytes=None, max_age=1e12)


def expand(kind: str, given: bytes | int) -> bytes:
    if isinstance(given, bytes):
        return given
    if kind == "long":
        return b"l" * given
    if kind == "flood":
        return b"%4999d\n" % given * (given // 5000)
    return b"".join(b"%d %s\n" % (i, b"x" * (i * 37 % 200)) for i in range(given))


class World:
    """A task with its runs, and what is known of its lines so far."""

    def __init__(self, folder: Path, limits: LogLimits) -> None:
        self.limits = limits
        self.path, self.spool = folder / "logs.db", folder / "spool"
        self.engine = IngestEngine(self.path, self.spool)
        self.engine.open()
        self.engine.resume()
        self.reader = LogReader(self.path, self.spool)
        self.seen: dict[int, Line] = {}
        self.pipes: list[Pipe] = []
        self.notes = 0
        self.clock = time.monotonic()
        self.next_run()

    def next_run(self) -> None:
        if self.pipes:
            self.pipes[-1].close()
            self.engine.finish(len(self.pipes))
        self.pipes.append(Pipe(self.spool, len(self.pipes) + 1))
        self.engine.attach(Attachment(len(self.pipes), "task", self.limits))

    def do(self, step: str, given: bytes | int) -> None:
        pipe = self.pipes[-1]
        if step in ("write", "lines", "long", "flood"):
            pipe.write(expand(step, given))
        elif step == "rotate":
            pipe.rotate()
        elif step == "again":
            pipe.attach_again()
        elif step == "jump":
            pipe.jump()
        elif step == "turn":
            self.engine.mark(None)
            self.engine.turn(self.clock, rush=True)
        elif step == "look":
            self.clock += 0.2
            self.engine.mark(None)
            self.engine.turn(self.clock)
        elif step == "kill":
            self.engine.close()
            self.engine = IngestEngine(self.path, self.spool)
            self.engine.open()
            self.engine.resume()
            self.engine.attach(Attachment(len(self.pipes), "task", self.limits))
        elif step in ("note", "late note"):
            self.notes += 1
            run = max(len(self.pipes) - (step == "late note"), 1)
            place = end_of(self.spool, run)
            self.engine.append(run, "task", b"note %d\n" % self.notes, 1.0, place)
            settle(self.engine)
        else:
            self.next_run()

    def check(self) -> None:
        """No line is lost, renumbered or changed; only the last one may grow."""
        lines = read_all(self.reader, "task")
        for number, old in self.seen.items():
            new = lines[number]
            assert new.run == old.run
            grown = number == len(self.seen) - 1
            assert new.raw.startswith(old.raw) if grown else new.raw == old.raw
        self.seen = {line.number: line for line in lines}
        for run, pipe in enumerate(self.pipes, 1):
            own = [line.raw for line in lines if line.run == run and not line.raw.startswith(b"note ")]
            assert b"".join(own) == pipe.written.replace(b"\n", b"")

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()
        self.reader.close()
        self.engine.close()


@given(steps=st.lists(STEPS, max_size=30), limits=st.sampled_from([EVERYTHING, FOR_AGES]))
def test_every_line_once_in_order_and_under_its_number(steps: list[Step], limits: LogLimits) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(storing, "SPAN", 0.0):
        world = World(Path(folder), limits)
        try:
            for step, data in steps:
                world.do(step, data)
                world.check()
            for pipe in world.pipes:
                pipe.close()
            for run in range(1, len(world.pipes) + 1):
                world.engine.finish(run)
            settle(world.engine)
            world.check()
            assert not list(world.spool.iterdir())
        finally:
            world.close()
