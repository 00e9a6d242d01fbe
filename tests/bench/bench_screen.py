"""The TUI in a terminal of 160 x 50: how soon it appears, and how soon a key shows, also under a flood of output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from tests.bench.floor import bare_python
from tests.bench.place import Project, project, sleepers
from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, measured, percentile
from tests.bench.usage import Cost, cost
from tests.harness import wait_until

TASKS = 50
# Two of these write 100,000 lines a second together, however slow the machine, unless something holds them back.
FLOOD = """
import sys, time
number, due = 0, time.perf_counter()
while True:
    lines = [f"\\x1b[3{step % 8}m{sys.argv[1]}\\x1b[0m {number + step} {'x' * 40}\\n" for step in range(500)]
    sys.stdout.write("".join(lines))
    sys.stdout.flush()
    number, due = number + 500, due + 0.01
    time.sleep(max(0.0, due - time.perf_counter()))
"""


def rows(settings: Settings) -> Iterator[Row]:
    """First frame beside a bare Python; the cursor's move with nothing going on, and while output floods in."""
    yield _first_frame(settings)
    still, busy = "exec sleep 100000 #", f"exec {sys.executable} flood.py"
    _, idle, _ = _keys(settings, still)
    yield measured("key → screen, nothing going on", idle, "ms", reach=8, worst_reach=40, by_worst=True)
    _, times, _ = _keys(settings, still, pane=True)
    yield measured("the same in a tmux pane", times, "ms", reach=8, worst_reach=40, by_worst=True)
    lines, flooded, flood = _keys(settings, busy)
    yield measured(
        f"key → screen, {lines:,.0f} lines/s arriving",
        flooded,
        "ms",
        references=[Reference("nothing going on", percentile(idle, 0.5))],
        reach=20,
        worst_reach=100,
        by_worst=True,
    )
    _, times, _ = _keys(settings, busy, pane=True)
    yield measured("the same in a tmux pane", times, "ms", reach=20, worst_reach=100, by_worst=True)
    yield Row("the TUI meanwhile: CPU", flood.cpu_percent, "%", reach=45)
    yield Row(
        "the TUI meanwhile: memory", flood.pss_mb, "MB PSS", reach=60, note=f"RSS {flood.rss_mb:.0f} MB"
    )

    yield _question(settings)


def _first_frame(settings: Settings) -> Row:
    times, floor = [], []
    with project(sleepers(TASKS)) as ours:
        ours.cli("start")
        ours.wait_running(TASKS)
        for _ in range(settings.runs(20)):
            floor.append(bare_python())
            with ours.screen() as screen:
                times.append(1000 * (screen.wait_for("leave") - screen.began))
                screen.wait_for("t1 ")
    bare = Reference("bare Python", percentile(floor, 0.5))
    return measured("TUI spawned → first frame", times, "ms", references=[bare], reach=350)


def _question(settings: Settings) -> Row:
    """How soon the screen shows that a task waits for an answer."""
    times = []
    command = 'while read -r go < gate; do printf "Overwrite? [y/N] "; read -r answer; done'
    with project(
        f"[tasks.calm]\ncommand = 'exec sleep 100000'\n[tasks.ask]\ncommand = '''{command}'''\n"
    ) as ours:
        os.mkfifo(ours.folder / "gate")
        ours.cli("start")
        ours.wait_running(2)
        with ours.screen() as screen:
            screen.wait_for("ask")
            for _ in range(settings.runs(20)):
                time.sleep(0.5)
                began = screen.press("")
                (ours.folder / "gate").write_text("go\n")
                times.append(1000 * (screen.wait_for("needs input") - began))
                ours.ask("paste", task="ask", text="y\n")
                wait_until(lambda: not ours.running()["ask"]["needs_input"])
    return measured("a question in a task → marked on the screen", times, "ms", reach=250, worst_reach=500)


def _keys(settings: Settings, command: str, *, pane: bool = False) -> tuple[float, list[float], Cost]:
    """Lines a second; ms from a key until the cursor stands on the other of two tasks; what the TUI costs."""
    times = []
    with project("".join(f"[tasks.task{side}]\ncommand = '{command} {side}'\n" for side in "ab")) as ours:
        (ours.folder / "flood.py").write_text(FLOOD)
        ours.cli("start")
        ours.wait_running(2)
        with ours.screen(pane=pane) as screen:
            screen.wait_for("▌ taska")
            time.sleep(2)
            before, began = _lines(ours), time.perf_counter()
            for _ in range(settings.runs(100)):
                for key, side in (("j", "b"), ("k", "a")):
                    pressed = screen.press(key)
                    times.append(1000 * (screen.wait_for(f"▌ task{side}") - pressed))
                    time.sleep(0.07)  # a person's pace, and never in step with the frames
            speed = (_lines(ours) - before) / (time.perf_counter() - began)
            return speed, times, cost([screen.pid], 2.0 if settings.quick else 10.0)


def _lines(ours: Project) -> int:
    return sum(ours.ask("log_info", task=f"task{side}")["end"] for side in "ab")
