"""A project as a person has it: a folder, a file, and the `paneview` that is installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.support import Done, run, supervise
from tests.harness import Sandbox, alive, wait_until

PANEVIEW = str(Path(sys.executable).with_name("paneview"))
PATIENCE = 40.0

Json = dict[str, Any]


class Place:
    """The project's folder, and the commands typed in it."""

    def __init__(self, sandbox: Sandbox, name: str = "shop") -> None:
        self.sandbox = sandbox
        self.folder = sandbox.root / name
        self.folder.mkdir()

    def write(self, text: str, name: str = "paneview.toml") -> None:
        """Write the configuration file; the project's name is the folder's unless the text says otherwise."""
        if name == "paneview.toml" and "name =" not in text.split("[tasks", 1)[0]:
            text = f'name = "{self.folder.name}"\n{text}'
        (self.folder / name).write_text(text)

    def start(self, text: str, *args: str) -> Json:
        """Write the file, and start the project with a supervisor that is there already."""
        self.write(text)
        self.supervise()
        return self.ask("start", *args)

    def supervise(self) -> None:
        """Start a supervisor, as the command `daemon` does."""
        supervise(self.folder)

    def begin(self, text: str) -> None:
        """As `start`, where a task may have failed before it is answered, which is an error then."""
        self.write(text)
        self.supervise()
        assert self.run("start", "--json").status in {0, 1}

    # What is typed

    def run(self, *args: str) -> Done:
        """Run ``paneview`` with these arguments, and wait for it."""
        return run(*args, cwd=self.folder)

    def ask(self, *args: str, status: int = 0) -> Json:
        """Run a command with ``--json``: its exit status is as expected, and all it prints is one object."""
        done = self.run(*args, "--json")
        assert done.status == status, f"paneview {' '.join(args)}: {done.status}: {done.out}{done.err}"
        answer: Json = json.loads(done.out)
        assert answer["ok"] is (status == 0)
        assert done.err == ""
        return answer

    @contextmanager
    def following(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on; at the end Ctrl-C, on which it has to end well.

        All it may complain of is that a log was rotated faster than it could be read.
        """
        with subprocess.Popen(
            [PANEVIEW, *args], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=PATIENCE)
                complaints = [line for line in errors.splitlines() if "lines are missing here" not in line]
                assert (process.returncode, complaints) == (0, [])
            finally:
                process.kill()

    # What is seen

    def task(self, name: str) -> Json:
        """A task's status."""
        return next(task for task in self.ask("status")["tasks"] if task["name"] == name)

    def wait(self, name: str, check: Callable[[Json], object] | str) -> Json:
        """Wait until the task is in this state (with a pid, if it runs), or ``check`` holds of its status."""

        def holds() -> Json | None:
            task = self.task(name)
            return task if (_is_in(task, check) if isinstance(check, str) else check(task)) else None

        try:
            return wait_until(holds, PATIENCE, 0.03) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; now: {self.task(name)}") from error

    def events(self, *kinds: str, task: str | None = None) -> list[Json]:
        """Recorded events, oldest first."""
        options = [word for kind in kinds for word in ("--kind", kind)] + (["--task", task] if task else [])
        found: list[Json] = self.ask("events", "-n", "10000", *options)["events"]
        return found

    def wait_event(self, kind: str, task: str | None = None) -> Json:
        """The first event of this kind, as soon as there is one."""
        return wait_until(lambda: self.events(kind, task=task), PATIENCE, 0.03)[0]

    def log(self, task: str) -> list[str]:
        """The text of every stored line of a task, but for the terminal's echo of Ctrl-C."""
        entries = self.ask("logs", task, "-n", "1000000")["entries"]
        return [entry["text"] for entry in entries if entry["text"] != "^C"]

    def wait_log(self, task: str, *lines: str) -> None:
        """Wait until these are the lines of the task's log."""
        try:
            wait_until(lambda: self.log(task) == list(lines), PATIENCE / 2, 0.03)
        except AssertionError as error:
            raise AssertionError(f"{error}; now: {self.log(task)}") from None

    def wait_file(self, name: str) -> str:
        """What the file holds, once there is something."""
        path = self.folder / name
        return wait_until(lambda: path.exists() and path.read_text().strip(), PATIENCE) or ""

    # The supervisor

    def supervisor(self) -> int:
        """The supervisor's pid."""
        return int(self.ask("status")["supervisor"]["pid"])

    def kill_supervisor(self) -> None:
        """kill -9."""
        pid = self.supervisor()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid))


def _is_in(task: Json, state: str) -> bool:
    return bool(task["state"] == state and (state != "running" or task["pid"]))
