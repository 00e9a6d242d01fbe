"""A project under a real supervisor process, driven over its control socket."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paneview.config import paths
from paneview.control.blocking import call
from paneview.control.errors import ControlError, NoSupervisor
from tests import prepared
from tests.harness import Sandbox, alive, end_all, wait_until

Reply = dict[str, Any]


class Project:
    """A configuration file, and the supervisor that runs for it, if any."""

    def __init__(self, sandbox: Sandbox, text: str, name: str = "proj") -> None:
        self.sandbox = sandbox
        self.folder = sandbox.root / name
        self.folder.mkdir()
        self.file = self.folder / "paneview.toml"
        self.write(text)
        self.process: prepared.Process | None = None

    def write(self, text: str) -> None:
        """Replace the file's text."""
        if "name =" not in text.split("[", 1)[0]:
            text = f'name = "{self.folder.name}"\n{text}'
        self.file.write_text(text)

    # The supervisor

    def serve(self, *, env: dict[str, str] | None = None) -> Project:
        """Start a supervisor process; returns when it answers."""
        self.begin_serving(env=env)
        wait_until(self._answers)
        return self

    def begin_serving(self, *, env: dict[str, str] | None = None) -> None:
        """Start a supervisor process without waiting for it."""
        with (self.folder / "supervisor.err").open("ab") as told:
            self.process = prepared.start(
                "--serve", str(self.file), cwd=self.folder, env={**os.environ, **(env or {})}, out=told
            )

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"the supervisor ended: {self.supervisor_log()}"
        try:
            return bool(self.call("hello")["pid"] == self.process.pid)
        except (NoSupervisor, ControlError):
            return False

    def kill_supervisor(self) -> None:
        """Send SIGKILL to the supervisor; tasks go on."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end_supervisor(self) -> None:
        """Send SIGTERM to the supervisor; tasks go on."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process and self.process.poll() is None:
            self.kill_supervisor()
        self.sandbox.end_tmux()
        end_all(self.sandbox.processes())

    # Asking

    @property
    def state_dir(self) -> Path:
        """The project's state folder."""
        found = paths.find_project_dir(self.file)
        assert found, "no supervisor ever ran"
        return found

    def supervisor_log(self) -> str:
        """The supervisor's log and standard error."""
        folder = paths.find_project_dir(self.file)
        log = paths.supervisor_log(folder) if folder else None
        return (log.read_text() if log and log.exists() else "") + (
            self.folder / "supervisor.err"
        ).read_text()

    def call(self, do: str, **args: Any) -> Reply:
        """One request. Raises ControlError, NoSupervisor."""
        folder = paths.find_project_dir(self.file)
        if folder is None:
            raise NoSupervisor
        return call(str(paths.control_socket(folder)), do, args)

    def task(self, name: str) -> Reply:
        """One task's status object."""
        return next(task for task in self.call("status")["tasks"] if task["name"] == name)

    def wait(self, name: str, check: Callable[[Reply], object] | str, deadline: float = 20.0) -> Reply:
        """Wait until the task is in this state (with a pid, if it runs), or ``check`` holds for its status object."""

        def holds() -> Reply | None:
            task = self.task(name)
            good = _is_in(task, check) if isinstance(check, str) else check(task)
            return task if good else None

        try:
            return wait_until(holds, deadline) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; now: {self.task(name)}") from error

    def wait_for_task(self, name: str) -> None:
        """Wait until the project has a task with this name."""
        wait_until(lambda: name in [task["name"] for task in self.call("status")["tasks"]])

    def events(self, kind: str | None = None, task: str | None = None) -> list[Reply]:
        """The recorded events, oldest first."""
        found: list[Reply] = self.call("events", kinds=[kind] if kind else None, task=task, limit=10_000)[
            "events"
        ]
        return found

    def lines(self, task: str) -> list[str]:
        """Every stored line of a task."""
        info = self.call("log_info", task=task)
        found: list[str] = []
        while info["first"] + len(found) < info["end"]:
            page = self.call("log_lines", task=task, first=info["first"] + len(found), count=5_000)["lines"]
            found += [line["text"] for line in page]
        return found


def _is_in(task: Reply, state: str) -> bool:
    return task["state"] == state and (state != "running" or task["pid"] is not None)


def gone(pid: int) -> bool:
    """Whether the process has ended."""
    return not alive(pid)
