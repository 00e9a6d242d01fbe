"""A home on a real broker, with a real worker whose agent is a Python function."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from paneview.agents.model import RunOutcome, RunStatus, Tokens
from paneview.broker import Broker, open_broker
from paneview.broker.model import Settings
from paneview.config.load import load_project
from paneview.rules.workflow import Phase, Workflow
from paneview.worker import Command, Handlers, Setup, Worker
from paneview.worker.joining import broker_settings
from paneview.workflow.home import Home
from paneview.workflow.orchestrator import Orchestrator
from tests.harness import wait_until

Agent = Callable[[dict[str, Any]], RunOutcome]


def ok(text: str = "done", **more: Any) -> RunOutcome:
    """An outcome as a runner brings it."""
    values = {"session": "s1", "tokens": Tokens(10, 5, 1), "cost_usd": 0.01, "turns": 2}
    return RunOutcome(RunStatus.OK, text, **{**values, **more})


def failed(status: str, **more: Any) -> RunOutcome:
    return RunOutcome(RunStatus(status), session="s1", **more)


class Stage:
    """The home, its orchestrators and its workers."""

    def __init__(self, folder: Path, text: str, url: str = "") -> None:
        self.root = folder / "project"
        self.root.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        (self.root / "paneview.toml").write_text(dedent(text))
        self._settings = ("", Settings())
        self.url = url or f"sqlite:///{self.state}/queue.db"
        self.seen: list[dict[str, Any]] = []
        self.agent: Agent = lambda payload: ok(f"did {payload['phase']}")
        self.told: list[Workflow] = []
        self._threads: list[Orchestrator] = []
        self._workers: list[tuple[Worker, threading.Thread]] = []

    def connect(self) -> Broker:
        text = (self.root / "paneview.toml").read_text()
        if self._settings[0] != text:  # many connect, and it takes milliseconds
            self._settings = (text, broker_settings(self.home().project.queue))
        return open_broker(self.url, settings=self._settings[1])

    def home(self, folder: Path | None = None) -> Home:
        environ = {**os.environ, "API_TOKEN": "very-secret-value"}
        project = load_project(self.root / "paneview.toml", environ)
        return Home.named(project, folder or self.state, environ)

    def orchestrate(self, folder: Path | None = None) -> Orchestrator:
        one = Orchestrator(self.connect, self.home(folder), lambda _before, after: self.told.append(after))
        self._threads.append(one)
        one.start()
        return one

    def work(self, *roles: str) -> Worker:
        """A worker on a thread; its agent is ``self.agent``."""

        def act(command: Command) -> Any:
            self.seen.append(command.payload)
            return self.agent(command.payload).to_json()

        handlers = Handlers()
        handlers.add("phase", act)
        worker = Worker(
            setup=Setup(roles=roles, grace=1.0, environ={}), connect=self.connect, handlers=handlers
        )
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self._workers.append((worker, thread))
        return worker

    def ask(self, one: Orchestrator, task: str = "do it", plan: str = "x", cwd: Path | None = None) -> str:
        engine = one.engine()
        flow = engine.ask(task, engine.home.project.workflows[plan], str(cwd or self.root), "me")
        one.nudge()
        return flow.id

    def phase(self, one: Orchestrator, name: str, phase: str) -> Phase:
        flow = one.engine().shelf.get(name)
        number = flow.index(phase)
        assert number is not None
        return flow.phases[number]

    def until(self, one: Orchestrator, name: str, *statuses: str, timeout: float = 20.0) -> Workflow:
        """The workflow as soon as it has one of these states; final ones by default."""
        wanted = statuses or ("done", "failed", "cancelled")
        wait_until(lambda: one.engine().shelf.get(name).status in wanted, timeout)
        return one.engine().shelf.get(name)

    def close(self) -> None:
        for worker, _ in self._workers:
            worker.stop()
            worker.stop()
        for _, thread in self._workers:
            thread.join(10)
        for one in self._threads:
            one.end()


@contextmanager
def stage(folder: Path, text: str, url: str = "") -> Iterator[Stage]:
    one = Stage(folder, text, url)
    try:
        yield one
    finally:
        one.close()


def later(seconds: float, act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


__all__ = ["RunStatus", "Stage", "failed", "later", "ok", "stage"]
