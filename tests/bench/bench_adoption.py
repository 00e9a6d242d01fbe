"""kill -9 of the supervisor: how long until the next one, started by hand, supervises every task again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.floor import bare_python
from tests.bench.place import project, sleepers
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile

TASKS = 50


def rows(settings: Settings) -> Iterator[Row]:
    """From the spawn of the next supervisor until it reports all tasks as running, with the pids they had."""
    times, floor = [], []
    with project(sleepers(TASKS)) as ours:
        ours.cli("start")
        ours.wait_running(TASKS)
        pids = {name: task["pid"] for name, task in ours.running().items()}
        for _ in range(settings.runs(10)):
            ours.kill_supervisor()
            floor.append(bare_python())
            began = time.perf_counter()
            ours.serve()
            ours.wait_running(TASKS)
            times.append(1000 * (time.perf_counter() - began))
            found = {name: task["pid"] for name, task in ours.running().items()}
            if found != pids:
                raise RuntimeError(f"not the same processes after adoption: {pids} {found}")
    yield measured(
        f"supervisor killed → {TASKS} tasks adopted by the next",
        times,
        "ms",
        references=[Reference("bare Python", percentile(floor, 0.5))],
        reach=300,
    )
