"""Real workers for the measurements: ``paneview worker`` processes with handlers that do next to nothing.

All clocks are the machine's monotonic one, which its processes share.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from paneview.broker import Broker, NewJob, Settings, open_broker
from tests.bench.place import PANEVIEW, project
from tests.harness import wait_until

UNLIMITED = Settings(max_depth=None)
HANDLERS = """\
import os, time
from paneview.worker import handler

def write(value):
    with open("marks", "a") as file:
        file.write(f"{value}\\n")

@handler("noop")
def noop(command):
    pass

@handler("stamp")
def stamp(command):
    write(1000 * (time.monotonic() - command.payload))

@handler("mark")
def mark(command):
    write(time.monotonic())

@handler("gate")
def gate(command):
    write("at the gate")
    while not os.path.exists(command.payload):
        time.sleep(0.002)

@handler("hold")
def hold(command):
    write(f"{time.monotonic()} {os.getpid()}")
    if command.lease.attempt == 1:
        time.sleep(60)
"""


class Staff:
    """Some workers of one queue, with a folder of their own."""

    def __init__(self, url: str, folder: Path, count: int, stack: ExitStack, **env: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.broker: Broker = stack.enter_context(open_broker(url, settings=UNLIMITED))
        (folder / "bench_handlers.py").write_text(HANDLERS)
        self._marks = folder / "marks"
        self._marks.write_text("")
        foreign = ("TMUX", "PANEVIEW", "PANEBUS")
        around = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        self._env = {**around, "PANEVIEW_BROKER": url, "PANEVIEW_HOME": str(folder / "home"), **env}
        self.workers: list[subprocess.Popen[bytes]] = []
        for _ in range(count):
            self.hire(stack)
        here = {worker.pid for worker in self.workers}
        wait_until(lambda: here <= {view.worker.pid for view in self.broker.workers.all(alive_only=True)})

    def hire(self, stack: ExitStack) -> None:
        """Start one more worker, to be ended with the stack."""
        with (self.folder / f"{len(self.workers)}.out").open("wb") as out:
            worker = subprocess.Popen(
                [PANEVIEW, "worker", "--handlers", "bench_handlers"],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(worker)
        stack.callback(worker.wait)
        stack.callback(worker.kill)

    def marks(self, number: int, seconds: float = 300.0) -> list[str]:
        """The lines that handlers have written, once there are ``number`` of them."""
        wait_until(lambda: len(self._marks.read_text().splitlines()) >= number, seconds, 0.01)
        return self._marks.read_text().splitlines()

    def complaints(self) -> list[str]:
        """What the workers printed that a user should not see."""
        said = [file.read_text() for file in self.folder.glob("*.out")]
        return [line for text in said for line in text.splitlines() if " ! " in line or " ✗ " in line]


@contextmanager
def staff(url: str, folder: Path, count: int = 1, **env: str) -> Iterator[Staff]:
    """Workers that have registered, ended with the block."""
    with ExitStack() as stack:
        yield Staff(url, folder, count, stack, **env)


def fill(broker: Broker, number: int, kind: str = "noop") -> None:
    """Submit ``number`` jobs of 200 bytes each."""
    payload = {"text": "x" * 200}
    for start in range(0, number, 500):
        broker.submit_many([NewJob(kind, payload) for _ in range(min(500, number - start))])


def latencies(url: str, folder: Path, number: int) -> list[float]:
    """Milliseconds from each submission to an idle worker's handler."""
    with staff(url, folder) as crew:
        for _ in range(number):
            time.sleep(0.02)  # until the worker sleeps
            crew.broker.submit(NewJob("stamp", time.monotonic()))
        return [float(line) for line in crew.marks(number)]


def drained(url: str, folder: Path, number: int, count: int) -> float:
    """Microseconds per empty job, with ``count`` workers. Fails if a worker complains of anything."""
    with staff(url, folder, count) as crew:
        opened = folder / "open"
        opened.unlink(missing_ok=True)
        crew.broker.submit_many([NewJob("gate", str(opened)) for _ in range(count)])
        crew.marks(count)
        fill(crew.broker, number)
        crew.broker.submit(NewJob("mark"))
        began = time.monotonic()
        opened.touch()
        ended = float(crew.marks(count + 1)[-1])
        wait_until(lambda: not crew.broker.stats(), 60)
        assert not crew.complaints(), crew.complaints()
        return 1e6 * (ended - began) / number


def outlived(url: str, folder: Path, lease: float) -> float:
    """Milliseconds from the death of a worker, which nobody is notified of, until another works on its job."""
    with staff(url, folder, 2, PANEVIEW_LEASE=str(lease)) as crew:
        crew.broker.submit(NewJob("hold", max_attempts=9))
        holder = int(crew.marks(1)[0].split()[1])
        (victim,) = (worker for worker in crew.workers if worker.pid == holder)
        time.sleep(lease / 2)
        died = time.monotonic()
        victim.kill()
        return 1000 * (float(crew.marks(2)[1].split()[0]) - died)


def deaths(url: str, number: int) -> list[float]:
    """Milliseconds from the death of a supervised worker until another one works on its job."""
    file = f"""
[queue]
broker = "{url}"
respawn_limit = 1000000
[workers.staff]
replicas = 3
handlers = ["bench_handlers"]
"""
    found = []
    with project(file) as made, open_broker(url, settings=UNLIMITED) as broker:
        (made.folder / "bench_handlers.py").write_text(HANDLERS)
        marks = made.folder / "marks"
        for _ in range(number):
            marks.write_text("")
            made.cli("start")  # without the delay after repeated deaths
            wait_until(lambda: len(_living(broker)) == 3, 60)
            broker.submit(NewJob("hold", max_attempts=9))
            holder = int(_line(marks, 0).split()[1])
            died = time.monotonic()
            os.kill(holder, signal.SIGKILL)
            found.append(1000 * (float(_line(marks, 1).split()[0]) - died))
            wait_until(lambda: not broker.stats(), 60)
    return found


def _living(broker: Broker) -> list[int]:
    return [view.worker.pid for view in broker.workers.all(alive_only=True)]


def _line(marks: Path, number: int) -> str:
    """Line ``number`` of the file, once it is complete."""
    wait_until(lambda: marks.read_text().count("\n") > number, 60, 0.005)
    return marks.read_text().splitlines()[number]
