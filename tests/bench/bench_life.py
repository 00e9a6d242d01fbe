"""Starting, stopping and restarting: from the command or the death until the task's own process says that it runs."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

from tests.bench.floor import tmux_windows
from tests.bench.place import PANEVIEW, Project, project, sleepers
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile

TASKS = 50


def rows(settings: Settings) -> Iterator[Row]:
    """Start of all, stop and restart of one, death of any, and a dependent that waits."""
    with project(
        sleepers(TASKS, "restart_policy = 'always'\nrestart_backoff = 0\nmax_restarts = 100000")
    ) as ours:
        yield _start(ours, settings)
        yield from _stop_and_restart(ours, settings)
        yield _revive(ours, settings)
    yield _dependent(settings)


def _start(ours: Project, settings: Settings) -> Row:
    times, bare, piped = [], [], []
    for _ in range(settings.runs(10)):
        ours.settle()
        began = time.perf_counter()
        ours.place.spawn(PANEVIEW, "start", cwd=ours.folder)
        last, _lines = ours.place.bell.count(TASKS)
        times.append(1000 * (last - began))
        ours.wait_running(TASKS)
        bare.append(tmux_windows(TASKS, piped=False))
        piped.append(tmux_windows(TASKS, piped=True))
        ours.cli("stop")
        ours.place.bell.forget()
    return measured(
        f"start of {TASKS} tasks, until all run",
        times,
        "ms",
        references=[
            Reference("bare tmux, options and pipes", percentile(piped, 0.5)),
            Reference("bare tmux", percentile(bare, 0.5)),
            *settings.peer("start"),
        ],
        reach=250,
    )


def _stop_and_restart(ours: Project, settings: Settings) -> Iterator[Row]:
    stops, restarts = [], []
    ours.cli("start")
    ours.place.bell.count(TASKS)
    for _ in range(settings.runs(20)):
        began = time.perf_counter()
        ours.cli("stop", "t1")
        stops.append(1000 * (time.perf_counter() - began))
        ours.cli("start", "t1")
        ours.place.bell.forget()
        began = time.perf_counter()
        ours.cli("restart", "t1")
        restarts.append(1000 * (time.perf_counter() - began))
        ours.place.bell.wait(lambda line: line.startswith("t1 "))
    what = "of a task that ends on Ctrl-C"
    yield measured(f"stop {what}", stops, "ms", references=settings.peer("stop"), reach=100)
    yield measured(f"restart {what}", restarts, "ms", references=settings.peer("restart"), reach=200)


def _revive(ours: Project, settings: Settings) -> Row:
    times = []
    dice = random.Random(1)
    for _ in range(settings.runs(300)):
        name = f"t{dice.randint(1, TASKS)}"
        victim = task_process(ours, name)
        began = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        again, _line = ours.place.bell.wait(lambda line, name=name: line.startswith(f"{name} "))  # type: ignore[misc]
        times.append(1000 * (again - began))
        ours.wait_running(TASKS)
    return measured(
        f"death of a process → running again, {TASKS} tasks",
        times,
        "ms",
        references=settings.peer("revive"),
        reach=20,
        worst_reach=60,
    )


def task_process(ours: Project, name: str) -> int:
    """The process of the task's command; the reported pid may be that of its guard."""
    pid = int(ours.running()[name]["pid"])
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        own = children.read().split()
    return int(own[0]) if own else pid


def _dependent(settings: Settings) -> Row:
    toml = (
        "[tasks.base]\ncommand = 'sleep 0.7; touch ready; BELL ready; exec sleep 100000'\n"
        "health_check = 'test -e ready'\n"
        "[tasks.user]\ncommand = 'BELL user; exec sleep 100000'\ndepends_on = ['base']\n"
    )
    times = []
    with project(toml) as ours:
        for _ in range(settings.runs(20)):
            (ours.folder / "ready").unlink(missing_ok=True)
            ours.place.spawn(PANEVIEW, "start", cwd=ours.folder)
            ready, _ = ours.place.bell.wait(lambda line: line.startswith("ready "))
            started, _ = ours.place.bell.wait(lambda line: line.startswith("user "))
            times.append(1000 * (started - ready))
            ours.wait_running(2)
            ours.cli("stop")
    return measured("dependency ready → dependent started", times, "ms", reach=100)
