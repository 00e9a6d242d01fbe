"""What it costs to have paneview running and to look at it, with nothing happening."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from tests.bench.place import Project, project, sleepers
from tests.bench.settings import Settings
from tests.bench.table import Row
from tests.bench.usage import cost
from tests.harness import marked

TASKS = 50
WINDOW = 30.0
SETTLE = 5.0


def rows(settings: Settings) -> Iterator[Row]:
    """Headless, then with the TUI. The helpers that tmux runs for us are a row of their own."""
    window = WINDOW / 6 if settings.quick else WINDOW
    with project(sleepers(TASKS)) as ours:
        ours.cli("start")
        ours.wait_running(TASKS)
        time.sleep(SETTLE)
        yield from _cost("headless", _own(ours), settings, window, (0.3, 60))
        yield from _cost("tmux, guards and log pipes of the same", _helpers(ours), settings, window, None)
        with ours.screen() as screen:
            screen.wait_for("t1")
            time.sleep(SETTLE)
            yield from _cost("with the TUI", _own(ours), settings, window, (1, 90))


def _cost(
    what: str, pids: list[int], settings: Settings, window: float, reach: tuple[float, float] | None
) -> Iterator[Row]:
    found = cost(pids, window)
    cpu, memory = reach or (None, None)
    yield Row(
        f"idle, {TASKS} tasks, {what}: CPU",
        found.cpu_percent,
        "%",
        references=settings.peer("cpu_percent") if reach else [],
        reach=cpu,
        note=f"{found.processes} processes, over {window:.0f} s",
    )
    yield Row(
        f"idle, {TASKS} tasks, {what}: memory",
        found.pss_mb,
        "MB PSS",
        references=settings.peer("pss_mb") if reach else [],
        reach=memory,
        note=f"RSS {found.rss_mb:.0f} MB",
    )


def _own(ours: Project) -> list[int]:
    """All Python processes of this place, and the tmux client by which they command tmux."""
    return [
        p.pid for p in marked(ours.place.marker) if p.name() == "paneview" or _is(p, "python", "tmux: client")
    ]


def _helpers(ours: Project) -> list[int]:
    own = set(_own(ours))
    return [p.pid for p in marked(ours.place.marker) if p.pid not in own and p.name() != "sleep"]


def _is(process: psutil.Process, *names: str) -> bool:
    return any(process.name().startswith(name) for name in names)
