"""Other job queues with the same jobs, one worker each, set up as their manuals say.

Each lives in a virtual environment below one folder (``--peers FOLDER``), made on the first run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.table import Reference
from tests.harness import wait_until

_TASKS = """
import time
def write(value):
    with open("{marks}", "a") as file:
        file.write(f"{{value}}\\n")
def _noop(): pass
def _stamp(sent): write(1000 * (time.monotonic() - sent))
def _mark(): write(time.monotonic())
"""
_HUEY = """
from huey import {kind}
huey = {kind}({place})
noop, stamp, mark = huey.task()(_noop), huey.task()(_stamp), huey.task()(_mark)
"""
_RQ = """
from redis import Redis
from rq import Queue
queue = Queue(connection=Redis(port={port}))
def noop(): queue.enqueue(_noop)
def stamp(sent): queue.enqueue(_stamp, sent)
def mark(): queue.enqueue(_mark)
"""
_TASKIQ = """
import asyncio
from taskiq_redis import RedisStreamBroker
broker = RedisStreamBroker("redis://127.0.0.1:{port}", consumer_id="0")  # what was sent before it began, too
t_noop, t_stamp, t_mark = (broker.task(task_name=f.__name__)(f) for f in (_noop, _stamp, _mark))
loop = asyncio.new_event_loop()
def run(call): loop.run_until_complete(call)
def noop(): run(t_noop.kiq())
def stamp(sent): run(t_stamp.kiq(sent))
def mark(): run(t_mark.kiq())
"""
_FILL = "import app\napp.mark()\nfor _ in range({number}): app.noop()\napp.mark()\n"
_STAMP = "import app, time\nfor _ in range({number}): app.stamp(time.monotonic()); time.sleep(0.05)\n"


REQUIREMENTS = {
    "huey": ("huey==3.5.4", "redis==8.1.0"),
    "rq": ("rq==3.0.0", "redis==8.1.0"),
    "taskiq": ("taskiq==0.13.0", "taskiq-redis==1.2.4"),
}


@dataclass(frozen=True)
class Peer:
    """How one of them is set up; ``{port}`` is the Redis server's."""

    name: str
    environment: str
    app: str
    worker: tuple[str, ...]


PEERS = {
    "huey SQLite": Peer(
        "huey SQLite",
        "huey",
        _HUEY.format(kind="SqliteHuey", place="filename='huey.db'"),
        ("bin/huey_consumer", "app.huey", "-w", "1"),
    ),
    "huey Redis": Peer(
        "huey Redis",
        "huey",
        _HUEY.format(kind="RedisHuey", place="port={port}"),
        ("bin/huey_consumer", "app.huey", "-w", "1"),
    ),
    "RQ": Peer(
        "RQ",
        "rq",
        _RQ,
        ("bin/rq", "worker", "--url", "redis://127.0.0.1:{port}", "-w", "rq.worker.SimpleWorker"),
    ),
    "taskiq stream": Peer(
        "taskiq stream", "taskiq", _TASKIQ, ("bin/taskiq", "worker", "app:broker", "--workers", "1")
    ),
}


@dataclass(frozen=True)
class Figures:
    """Milliseconds to an idle worker, and microseconds of a job that does nothing."""

    latency: float | None = None
    job: float | None = None


def measure(name: str, folder: Path | None, port: int, jobs: int, stamps: int) -> Figures:
    """The figures of one peer; none if it is not wanted, cannot be installed or does not work."""
    peer = PEERS[name]
    if folder is None or not _installed(folder / peer.environment, REQUIREMENTS[peer.environment]):
        return Figures()
    home = folder / peer.environment
    with tempfile.TemporaryDirectory(prefix="pvq-", dir="/tmp") as place:
        return _Session(peer, home, Path(place), port).measure(jobs, stamps)


def _installed(home: Path, requirements: tuple[str, ...]) -> bool:
    if home.exists():
        return True
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    pip = [home / "bin" / "pip", "install", "-q", *requirements]
    return subprocess.run(pip, check=False, capture_output=True).returncode == 0


def references(figures: dict[str, Figures], field: str, *names: str) -> list[Reference]:
    """One figure of some of the peers."""
    return [Reference(name, getattr(figures[name], field)) for name in names]


class _Session:
    def __init__(self, peer: Peer, home: Path, place: Path, port: int) -> None:
        self.home, self.place = home, place
        self.marks = place / "marks"
        self.marks.touch()
        app = _TASKS.format(marks=self.marks) + peer.app.replace("{port}", str(port))
        (place / "app.py").write_text(app)
        program, *arguments = (word.replace("{port}", str(port)) for word in peer.worker)
        self.worker = [str(home / program), *arguments]
        self.env = {**os.environ, "PYTHONPATH": str(place)}

    def _drive(self, script: str) -> None:
        subprocess.run(
            [self.home / "bin/python", "-c", script], cwd=self.place, env=self.env, check=True, timeout=300,
            capture_output=True,
        )  # fmt: skip

    def _lines(self) -> list[float]:
        return [float(line) for line in self.marks.read_text().split()]

    def measure(self, jobs: int, stamps: int) -> Figures:
        """Fill the queue, have it worked off, then submit one job at a time."""
        self._drive(_FILL.format(number=jobs))
        worker = subprocess.Popen(
            self.worker, cwd=self.place, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: len(self._lines()) >= 2, 60, 0.05)
            began, ended = self._lines()[:2]
            time.sleep(1)
            self._drive(_STAMP.format(number=stamps))
            wait_until(lambda: len(self._lines()) >= 2 + stamps, 60, 0.05)
            return Figures(statistics.median(self._lines()[2:]), 1e6 * (ended - began) / jobs)
        except (AssertionError, subprocess.CalledProcessError):
            return Figures()
        finally:
            worker.terminate()
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
