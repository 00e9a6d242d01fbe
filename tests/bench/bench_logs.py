"""A flood of output: whether all of it is stored, the task is held back, and the rest stays quick meanwhile."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

from tests.bench.bench_answers import status_ms
from tests.bench.floor import seq
from tests.bench.place import PANEVIEW, Project, project
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile
from tests.harness import wait_until
from tests.terminal import PATIENCE

LINES = 2_000_000
PAGE = 100_000


def rows(settings: Settings) -> Iterator[Row]:
    """``seq`` under paneview beside ``seq`` in a bare tmux, and ``status`` during it beside ``status`` at rest."""
    lines = LINES // 10 if settings.quick else LINES
    stored, alone, piped, own, busy, idle = [], [], [], [], [], []
    for _ in range(settings.runs(9)):
        alone.append(seq(lines, piped=False))
        piped.append(seq(lines, piped=True))
        with _task(lines) as ours:
            took, itself = _flood(ours, lines)
            _verify(ours, lines)
        stored.append(took)
        own.append(itself)
        # In a run of its own: on few cores, asking all the time holds up everything else.
        with _task(lines) as ours:
            idle += [status_ms(ours) for _ in range(10)]
            busy += _status_meanwhile(ours, lines)
    floors = [
        Reference("bare tmux", percentile(alone, 0.5)),
        Reference("bare tmux, piped to a file", percentile(piped, 0.5)),
    ]
    yield measured(f"seq 1 {lines}: start → all in the store", stored, "s", references=floors, reach=3)
    yield measured(f"seq 1 {lines}: the task itself", own, "s", references=floors, ratio_reach=1.1)
    at_rest = Reference("the same at rest", percentile(idle, 0.5))
    yield measured("status --json during it", busy, "ms", references=[at_rest], ratio_reach=2)


def _task(lines: int) -> AbstractContextManager[Project]:
    return project(
        f"[tasks.seq]\ncommand = 'BELL began; seq 1 {lines}; BELL ended; exec sleep 100000'\nlog_max_size = '100MB'\n"
    )


def _flood(ours: Project, lines: int) -> tuple[float, float]:
    """Seconds from the start until all lines are stored, and seconds that seq itself took.

    Nothing is asked before it has ended, so that measuring does not hold it up.
    """
    start = time.perf_counter()
    ours.place.spawn(PANEVIEW, "start", cwd=ours.folder)
    began, _ = ours.place.bell.wait(lambda line: line.startswith("began"))
    ended, _ = ours.place.bell.wait(lambda line: line.startswith("ended"))
    wait_until(lambda: _stored(ours) >= lines, PATIENCE, 0.01)
    return time.perf_counter() - start, ended - began


def _status_meanwhile(ours: Project, lines: int) -> list[float]:
    """Milliseconds of each ``status``, asked one after the other while the lines come."""
    ours.place.spawn(PANEVIEW, "start", cwd=ours.folder)
    ours.place.bell.wait(lambda line: line.startswith("began"))
    taken = []
    while _stored(ours) < lines:
        taken.append(status_ms(ours))
    return taken


def _stored(ours: Project) -> int:
    return int(ours.ask("log_info", task="seq")["end"])


def _verify(ours: Project, lines: int) -> None:
    """Raise RuntimeError unless the store holds 1 … lines, each once and in order."""
    found, wanted = hashlib.sha256(), hashlib.sha256()
    for first in range(0, lines, PAGE):
        answer = ours.ask("log_lines", task="seq", first=first, count=PAGE)
        found.update("\n".join(line["text"] for line in answer["lines"]).encode())
        wanted.update(
            "\n".join(str(number) for number in range(first + 1, first + 1 + len(answer["lines"]))).encode()
        )
    if found.digest() != wanted.digest():
        raise RuntimeError("lines are missing, double or out of order")
