"""How long a person waits for a command that only asks."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.floor import bare_python
from tests.bench.place import PANEVIEW, Project, project, sleepers
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile

TASKS = 50


def status_ms(asked: Project) -> float:
    """Milliseconds of ``paneview status --json`` as a process."""
    began = time.perf_counter()
    done = asked.place.run(PANEVIEW, "status", "--json", cwd=asked.folder)
    took = 1000 * (time.perf_counter() - began)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return took


def rows(settings: Settings) -> Iterator[Row]:
    """``status``, against a Python that does nothing (alternating, so that both see the same machine)."""
    with project(sleepers(TASKS)) as asked:
        asked.cli("start")
        asked.wait_running(TASKS)
        pairs = [(status_ms(asked), bare_python()) for _ in range(settings.runs(50))]
    bare = percentile([python for _, python in pairs], 0.5)
    yield measured(
        f"status --json, {TASKS} tasks",
        [ours for ours, _ in pairs],
        "ms",
        references=[Reference("bare Python", bare), *settings.peer("status")],
        reach=30,
        ratio_reach=3,
    )
