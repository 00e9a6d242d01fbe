"""The TUI under load: many tasks that change, and a log of ten million lines."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.place import project
from tests.bench.settings import Settings
from tests.bench.table import Row, measured
from tests.terminal import Screen

TASKS = 200
WINDOW = 6.0
BIG = 10_000_000
RARE = "a needle of its own"
# A supervisor that only sends changes: each of its tasks changes its state once a second, evenly spread.
TELLS = """
import asyncio, sys, time
from pathlib import Path
from paneview.control.audience import Audience
from paneview.control.server import ControlServer

class Handler:
    def __init__(self, number):
        self.tasks = [dict(name=f"task{n:03}", state="running", running=True, command="x") for n in range(number)]
    def snapshot(self):
        return {"session": "busy", "running": True, "tasks": self.tasks}
    async def handle(self, do, args, client):
        if do == "events":
            return {"events": [], "count": 0}
        return {"first": 0, "end": 0, "runs": [], "lines": []}

async def main(path, number):
    handler = Handler(number)
    server = ControlServer(handler, Audience(), Path(path))
    await server.start()
    states, began, count = ("running", "stopping", "failed", "backoff"), time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * number)
        for count in range(count, due):
            task = handler.tasks[count % number]
            task["state"] = states[(count // number) % 4] if count % 2 else "running"
            task["run"] = count
            server.audience.publish_tasks([task])
        await asyncio.sleep(0.004)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
SHOWS = (
    "import sys; from pathlib import Path; from paneview.config.paths import state_home; "
    "from paneview.tui.app import run; sys.exit(run(Path(sys.argv[1]), state_home()))"
)


def rows(settings: Settings) -> Iterator[Row]:
    """Frames a second and what a key takes meanwhile; then the log of ten million lines."""
    yield from _changing(settings)
    yield from _large(settings)


def _changing(settings: Settings) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="pvb-") as folder:
        path = Path(folder) / "sock"
        teller = subprocess.Popen([sys.executable, "-c", TELLS, str(path), str(TASKS)])
        try:
            while not path.exists():
                time.sleep(0.05)
            env = {"PATH": "/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8"}
            with Screen([sys.executable, "-c", SHOWS, str(path)], Path(folder), env) as screen:
                screen.wait_for("task0")
                time.sleep(2)
                window = WINDOW / 3 if settings.quick else WINDOW
                before, began = screen.frames, time.monotonic()
                time.sleep(window)
                frames = (screen.frames - before) / (time.monotonic() - began)
                yield Row(f"{TASKS} tasks that change each second: frames", frames, "1/s", note="reach: 30")
                times = []
                for _ in range(settings.runs(50)):
                    for key in ("j", "k"):
                        pressed = screen.press(key)
                        times.append(1000 * (screen.wait_for("▌") - pressed))
                        time.sleep(0.07)
                yield measured(
                    "key → screen meanwhile", times, "ms", reach=40, worst_reach=120, by_worst=True
                )
        finally:
            teller.kill()
            teller.wait()


def _large(settings: Settings) -> Iterator[Row]:
    lines = BIG // 10 if settings.quick else BIG
    command = f"echo {RARE}; seq 1 {lines}; exec sleep 100000"
    file = (
        "[tasks.aside]\ncommand = 'exec sleep 100000'\n"
        f"[tasks.big]\ncommand = '{command}'\nlog_max_size = '500MB'\n"
    )
    opened, jumped, found = [], [], []
    with project(file) as ours:
        ours.cli("start")
        while ours.ask("log_info", task="big")["end"] < lines + 1:
            time.sleep(0.2)
        for _ in range(settings.runs(10)):
            with ours.screen() as screen:
                screen.wait_for("▌ aside")
                time.sleep(1)
                opened.append(1000 * (-screen.press("j") + screen.wait_for(f"{lines}")))
                time.sleep(0.3)
                screen.press("\t")
                time.sleep(0.3)
                jumped.append(1000 * (-screen.press("g") + screen.wait_for(RARE)))
                time.sleep(0.3)
                screen.press("G")
                time.sleep(0.3)
                screen.press(f"/{RARE[:12]}")
                # The search runs while it is typed, so the measurement begins with the last key.
                time.sleep(1.5)
                screen.press("\x1b")
                time.sleep(0.5)
                screen.press("/needle of its ow")
                pressed = screen.press("n")
                found.append(screen.wait_for("1 of 1") - pressed)
    shown = f"{lines:,} lines"
    yield measured(f"open the log of {shown}", opened, "ms", reach=100)
    yield measured(f"jump to its first line of {shown}", jumped, "ms", reach=100)
    yield measured(f"first match of a rare word in {shown}", found, "s", reach=1)
