"""Workers as a person has them: started from the command line, in tmux panes or outside, on whatever queue."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from typing import Any

from tests import prepared
from tests.cli.support import Done, run
from tests.harness import alive, wait_until
from tests.parity.place import PANEVIEW, PATIENCE, Place
from tests.worker.support import Worker

Json = dict[str, Any]
QUICK = {"PANEVIEW_HEARTBEAT_INTERVAL": "0.3", "PANEVIEW_HEARTBEAT_TTL": "2", "PANEVIEW_LEASE": "2"}


class Crew:
    """Commands in a folder without a project; the environment says which queue."""

    def __init__(self, place: Place, url: str, **env: str) -> None:
        self.place = place
        self.folder = place.folder
        self.env = {"PANEVIEW_BROKER": url, **QUICK, **env}
        self.processes: list[Worker] = []
        self._windows = False

    def environ(self, **env: str) -> dict[str, str]:
        return {**os.environ, **self.env, **env}

    def run(self, *args: str, **env: str) -> Done:
        """Run a command, and wait for it."""
        return run(*args, cwd=self.folder, env={**self.env, **env})

    def ask(self, *args: str, status: int = 0, **env: str) -> Json:
        """Run a command with ``--json``; its object."""
        done = self.run(*args, "--json", **env)
        assert done.status == status, f"paneview {' '.join(args)}: {done.status}: {done.out}{done.err}"
        answer: Json = json.loads(done.out)
        return answer

    def begin(self, *args: str, **env: str) -> Worker:
        """Start a command that goes on; forked (see `tests.prepared`) unless it is told where to find more modules."""
        with (self.folder / f"{len(self.processes)}.out").open("w") as out:
            if "PYTHONPATH" not in env:
                process: Worker = prepared.start(*args, cwd=self.folder, env=self.environ(**env), out=out)
            else:
                process = subprocess.Popen(
                    [PANEVIEW, *args],
                    cwd=self.folder,
                    env=self.environ(**env),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
        self.processes.append(process)
        return process

    def said(self, process: Worker) -> str:
        """What it printed so far."""
        return (self.folder / f"{self.processes.index(process)}.out").read_text()

    def worker(self, *args: str, **env: str) -> Worker:
        """Start a worker outside tmux; returns once it takes jobs."""
        process = self.begin("worker", *args, **env)
        wait_until(lambda: process.poll() is not None or "worker " in self.said(process), PATIENCE)
        assert process.poll() is None, self.said(process)
        return process

    def pane(self, *args: str) -> str:
        """Type a worker into a pane of a tmux session; the pane's id, once it takes jobs."""
        tmux = self.place.sandbox.tmux
        if not self._windows:
            variables = [f"-e{name}={value}" for name, value in self.environ().items()]
            tmux("-f/dev/null", "new-session", "-d", "-s", "mine", *variables, "-c", str(self.folder), "sh")
            self._windows = True
        here = ("-c", str(self.folder))
        pane = tmux("new-window", "-d", "-P", "-F", "#{pane_id}", "-t", "mine:", *here, "sh")
        tmux("send-keys", "-t", pane, shlex.join([PANEVIEW, "worker", *args]), "Enter")
        wait_until(lambda: self.of(pane), PATIENCE, 0.05)
        return pane

    def of(self, name: str) -> Json | None:
        """The live worker of this name."""
        return next(
            (one for one in self.ask("workers")["workers"] if one["name"] == name and one["alive"]), None
        )

    def handlers(self, text: str, name: str = "mine") -> None:
        """Write a module of handlers."""
        (self.folder / f"{name}.py").write_text(text)

    def submit(self, target: str, kind: str, *args: str) -> str:
        """Send a job; its id."""
        return str(self.ask("dispatch", target, kind, *args)["id"])

    def job(self, job: str) -> Json:
        found: Json = self.ask("job", job)["job"]
        return found

    def until(self, job: str, state: str) -> Json:
        """The job once it is in this state."""

        def look() -> Json | None:
            found = self.job(job)
            return found if found["state"] == state else None

        return wait_until(look, PATIENCE, 0.05) or {}

    def result(self, job: str) -> Json:
        """What came of the job, waited for."""
        done = self.run("result", job, "--wait", "--timeout", f"{PATIENCE - 5:g}s", "--json")
        answer: Json = json.loads(done.out)
        return answer

    def kinds(self) -> set[str]:
        """PaneBus's names of what has happened."""
        return {str(one.get("panebus")) for one in self.ask("events", "--queue", "--count", "1000")["events"]}

    def close(self) -> None:
        """End all of them."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.place.sandbox.end_tmux()


def kill(pid: int) -> None:
    """SIGKILL; returns when it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
