"""Real workers in processes of their own, on a SQLite queue in the test's sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paneview.broker import Broker, Job, NewJob, Settings, Target, open_broker
from tests import prepared
from tests.cli.support import COMMAND, Done, environment, forked, run
from tests.harness import DEADLINE, wait_until

Worker = subprocess.Popen[str] | prepared.Process
QUICK = {"PANEVIEW_HEARTBEAT_INTERVAL": "0.2", "PANEVIEW_HEARTBEAT_TTL": "2"}


# Stops its own worker at the worst moment: in the middle of a transaction of the queue in the payload.
FREEZE = """
import os, signal, time
from paneview.broker import open_broker
from paneview.worker import handler
@handler("freeze")
def freeze(command):
    if command.lease.token == 1:
        with open_broker(command.payload)._database.write() as step:
            step.sql("UPDATE jobs SET priority = 5")
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(60)  # another thread may take the signal: this one goes on for a moment
    return command.lease.token
"""


class Farm:
    """A queue and whoever works on it. ``folder`` is where commands run and handlers' modules lie."""

    def __init__(self, folder: Path, settings: Settings | None = None, url: str = "") -> None:
        self.folder = folder
        self.url = url or f"sqlite://{folder}/queue.db"
        self.broker: Broker = open_broker(self.url, settings=settings or Settings())
        self.processes: list[Worker] = []
        self.env = {"PANEVIEW_BROKER": self.url, **QUICK}

    def submit(
        self, kind: str = "ping", payload: Any = None, target: Target | None = None, **more: Any
    ) -> str:
        return self.broker.submit(NewJob(kind, payload, target or Target(), **more)).id

    def worker(self, *args: str, within: Sequence[str] = (), **env: str) -> Worker:
        """Start a worker, by way of the command ``within`` if there is one; returns at once."""
        environ = environment({**self.env, **env})
        words = ("worker", "--json", *args)
        with (self.folder / f"{len(self.processes)}.out").open("w") as out:
            if not within and "PYTHONPATH" not in env:
                process: Worker = prepared.start(*words, cwd=self.folder, env=environ, out=out)
            else:
                process = subprocess.Popen(
                    [*within, *COMMAND, *words],
                    cwd=self.folder,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
        self.processes.append(process)
        return process

    def ready(self, *args: str, **env: str) -> Worker:
        """Start a worker and wait until it is registered."""
        process = self.worker(*args, **env)
        wait_until(lambda: process.poll() is not None or self.of(process.pid))
        assert process.poll() is None, self.said(process)
        return process

    def of(self, pid: int) -> Any:
        """The registered worker of this process."""
        return next((v for v in self.broker.workers.all(alive_only=True) if v.worker.pid == pid), None)

    def over(self, job: str, deadline: float = DEADLINE) -> Job:
        """The job once it is over."""
        wait_until(lambda: self.broker.need(job).state.final, deadline)
        return self.broker.need(job)

    def running(self, job: str) -> Job:
        """The job once somebody works on it."""
        wait_until(lambda: self.broker.need(job).state.value == "leased")
        return self.broker.need(job)

    def cli(self, *args: str, **env: str) -> Done:
        """A command, ended; a worker has a process of its own."""
        how = forked if args[0] == "worker" else run
        return how(*args, cwd=self.folder, env={**self.env, **env})

    def end(self, process: Worker, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Signal it and wait: exit status, and what it told."""
        process.send_signal(number)
        status = process.wait(30)
        return status, told(self.said(process))

    def said(self, process: Worker) -> str:
        """What it printed so far."""
        return (self.folder / f"{self.processes.index(process)}.out").read_text()

    def handlers(self, text: str, name: str = "mine") -> None:
        (self.folder / f"{name}.py").write_text(text)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()  # also one that is stopped
            process.wait()
        self.broker.close()


def told(out: str) -> list[dict[str, Any]]:
    """The objects a worker printed."""
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@contextmanager
def farm_in(folder: Path, settings: Settings | None = None, url: str = "") -> Iterator[Farm]:
    folder.mkdir(exist_ok=True)
    farm = Farm(folder, settings, url)
    try:
        yield farm
    finally:
        farm.close()


def alive_with(marker: str) -> list[int]:
    """Processes ``sleep`` whose command line holds this text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in line and line.startswith(b"sleep\0"):
            found.append(int(pid))
    return found
