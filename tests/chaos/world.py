"""A project whose tasks keep a diary, so that what really happened can be held against what paneview says."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.cli.support import run
from tests.harness import Sandbox, alive, marked, wait_until

PANEVIEW = str(Path(sys.executable).with_name("paneview"))
PATIENCE = 60.0

# A life of any task: one line in its diary with its pid and, since these come round again, when that process began.
# Appends this short are atomic.
DIARY = "read -r stat < /proc/$$/stat; echo $stat >> diary-{name}; "
# Counts upward until told to halt, 2,000 lines a second in small writes, some of them cut in the middle of a line.
COUNTER = """
import pathlib, time
number = 0
halt = pathlib.Path("halt")
while not halt.exists():
    for _ in range(20):
        print("li", end="", flush=number % 7 == 0)
        print("ne", number, flush=number % 5 == 0)
        number += 1
    time.sleep(0.01)
print("last", number, flush=True)
time.sleep(100000)
"""


@dataclass(frozen=True)
class Life:
    """One line of a diary: one process that a task was."""

    pid: int
    start: str

    @classmethod
    def of_stat(cls, stat: str) -> Life:
        """From a line of ``/proc/PID/stat``."""
        return cls(int(stat.split(maxsplit=1)[0]), stat.rpartition(")")[2].split()[19])

    @property
    def is_alive(self) -> bool:
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return Life.of_stat(stat) == self and stat.rpartition(")")[2].split()[0] != "Z"


class World:
    """A project folder in the sandbox, its command line, and the power to kill."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self.sandbox = sandbox
        self.dice = random.Random(seed)
        self.folder = sandbox.root / "world"
        self.folder.mkdir()
        (self.folder / "counter.py").write_text(COUNTER)
        self._tasks = ""

    def task(self, name: str, command: str, **fields: Any) -> None:
        """Add a task to the file; every life of it is noted in its diary first."""
        settings = {"command": DIARY.format(name=name) + command, **fields}
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        self._tasks += f"[tasks.{name}]\n{''.join(lines)}"
        (self.folder / "paneview.toml").write_text(f'name = "world"\n{self._tasks}')

    def counter(self, name: str, **fields: Any) -> None:
        """Add a task that counts upward in its log until `halt`."""
        self.task(name, f"exec {sys.executable} counter.py", **fields)

    # What a person types

    def spawn(self, *args: str) -> subprocess.Popen[str]:
        """Begin a paneview command in a process of its own."""
        return subprocess.Popen(
            [PANEVIEW, *args, "--json"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def cli(self, *args: str) -> dict[str, Any]:
        """Run a paneview command that has to work, in this process; its answer."""
        done = run(*args, "--json", cwd=self.folder)
        assert done.status == 0, f"paneview {' '.join(args)}: {done.status}: {done.out}{done.err}"
        return done.json

    def tasks(self) -> dict[str, dict[str, Any]]:
        """The tasks of ``status``, by name."""
        return {task["name"]: task for task in self.cli("status")["tasks"]}

    def wait_state(self, name: str, *states: str) -> dict[str, Any]:
        """Wait until a task is in one of ``states``."""

        def reached() -> dict[str, Any] | None:
            task = self.tasks()[name]
            return task if task["state"] in states else None

        return wait_until(reached, PATIENCE, 0.05)  # type: ignore[return-value]

    def log(self, name: str, last: int = 10_000_000) -> list[str]:
        """The last stored lines of a task, without their times."""
        lines = self.cli("logs", name, "-n", str(last))["lines"]
        return [line.split(" ", 1)[1] for line in lines]

    def exits(self, name: str) -> list[dict[str, Any]]:
        """The ends of its runs that were noticed, oldest first."""
        kinds = ("task_exited", "task_stopped", "task_lost")
        asked = [word for kind in kinds for word in ("--kind", kind)]
        events = self.cli("events", "--task", name, "-n", "100000", *asked)["events"]
        return [event for event in events if event["run"] is not None]

    def story(self, name: str, last: int = 20) -> str:
        """The last events of a task and the processes of this world, for the message of a failure."""
        events = self.cli("events", "--task", name, "-n", str(last))["events"]
        lines = [
            f"{event['ts']:.3f} {event['event']} run {event['run']} {event['cause']}" for event in events
        ]
        return "\n" + "\n".join([*lines, *self._processes()])

    def _processes(self) -> list[str]:
        left = []
        for process in marked(self.sandbox.marker):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.append(f"{process.pid} ({process.ppid()}) {' '.join(process.cmdline())[:200]}")
        return left

    # What really happened

    def lives(self, name: str) -> list[Life]:
        """The processes that a task has been, in order."""
        diary = self.folder / f"diary-{name}"
        return [Life.of_stat(line) for line in diary.read_text().splitlines()] if diary.exists() else []

    def running(self, name: str) -> list[int]:
        """The pids of the lives that are alive now."""
        return [life.pid for life in self.lives(name) if life.is_alive]

    def wait_empty(self) -> None:
        """Wait until nothing of this world is alive, tmux and paneview included."""
        try:
            wait_until(lambda: not marked(self.sandbox.marker))
        except AssertionError:
            raise AssertionError(f"left over: {self._processes()}") from None

    # Power

    def supervisor(self) -> int:
        """The supervisor's pid."""
        return int(self.cli("status")["supervisor"]["pid"])

    def kill(self, pid: int) -> None:
        """kill -9, and wait until it is gone."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        wait_until(lambda: not alive(pid))

    def pause(self, most: float) -> None:
        """Let a random time pass: the instant of the next blow is what is being tested."""
        time.sleep(self.dice.uniform(0, most))

    def halt(self, name: str) -> int:
        """Make the counters stop counting, and wait until ``name``'s last number is in its log; that number."""
        (self.folder / "halt").touch()

        def last() -> str | None:
            lines = self.log(name, last=1)
            return lines[0] if lines and lines[0].startswith("last ") else None

        return int(wait_until(last, PATIENCE, 0.1).split()[1])  # type: ignore[union-attr]
