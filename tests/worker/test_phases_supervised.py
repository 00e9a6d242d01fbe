"""Agents of supervised workers: in a real tmux, with real kills."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paneview.agents.model import RunOutcome, RunStatus
from paneview.broker import Broker, NewJob, Target, open_broker
from tests.harness import Sandbox, alive, wait_until
from tests.supervisor.project import Project

FILE = """
[queue]
heartbeat_interval = 0.2
heartbeat_ttl = 2

[runners.demo]
[workers.agents]
role = ["planner", "worker"]
stop_grace_period = 0.5
"""


class Stage:
    """A project with one supervised worker, and its queue."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.broker: Broker = open_broker("sqlite:", project_dir=project.state_dir)

    def phase(self, prompt: str, role: str = "worker") -> str:
        payload = {
            "workflow": "w1",
            "phase": "work",
            "attempt": 1,
            "prompt": prompt,
            "cwd": str(self.project.folder),
        }
        return self.broker.submit(NewJob("phase", payload, Target(role=role), timeout=600)).id

    def outcome(self, job: str) -> RunOutcome:
        result = self.broker.wait_result(job, 30)
        assert result is not None
        return RunOutcome.from_json(result.output)

    def note(self, job: str) -> dict[str, Any]:
        file = self.project.state_dir / "runs" / job / "shim.json"
        wait_until(file.exists)
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def has(self, name: str) -> Path:
        """A file in the project's folder, once the agent has written it."""
        file = self.project.folder / name
        wait_until(file.exists)
        return file

    def worker(self) -> int:
        """The pid of the worker that is alive."""
        found = wait_until(lambda: self.broker.workers.all(alive_only=True))
        return int(found[0].worker.pid)


@pytest.fixture
def stage(sandbox: Sandbox) -> Iterator[Stage]:
    project = Project(sandbox, FILE)
    made = Stage(project.serve())
    yield made
    made.broker.close()
    project.close()


def test_the_pane_shows_the_agent_at_work_and_a_killed_worker_is_waited_for(stage: Stage) -> None:
    job = stage.phase("demo: say good morning\ndemo: append started x\ndemo: sleep 3\ndemo: result still me")
    stage.has("started")
    agent = stage.note(job)["agent"][0]
    wait_until(lambda: any("good morning" in line for line in stage.project.lines("agents")))
    assert any("demo as worker, may edit" in line for line in stage.project.lines("agents"))
    first = stage.worker()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not alive(first))
    wait_until(lambda: stage.worker() != first)  # the supervisor has swept, and started it again
    assert alive(agent)
    assert stage.outcome(job).text == "still me"
    assert stage.has("started").read_text() == "x\n"
    wait_until(lambda: any("already at work" in line for line in stage.project.lines("agents")))


def test_an_agent_outlives_the_tmux_server(stage: Stage) -> None:
    job = stage.phase("demo: append started x\ndemo: sleep 4\ndemo: result survived")
    stage.has("started")
    pid = stage.project.sandbox.tmux_server_pid()
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert stage.outcome(job).text == "survived"
    assert stage.has("started").read_text() == "x\n"


def test_a_worker_that_is_stopped_ends_its_agent(stage: Stage) -> None:
    job = stage.phase("demo: spawn 1 away\ndemo: append started x\ndemo: hang stubborn")
    stage.has("started")
    note = stage.note(job)
    shown = (stage.project.state_dir / "runs" / job / "shown.log").read_text()
    child = int(shown.split("started ")[1].split()[0])
    stage.project.call("stop", tasks=["agents"])
    wait_until(lambda: not any(alive(pid) for pid in (note["pid"], note["agent"][0], child)))
    assert stage.broker.need(job).state == "queued"


def test_from_an_idle_worker_to_the_agent_takes_no_time(stage: Stage) -> None:
    """A bound for a loaded machine; the bench has the real one."""
    stage.worker()
    assert stage.outcome(stage.phase("warm up")).status is RunStatus.OK
    began = time.time()
    job = stage.phase("demo: sleep 0.3")
    assert stage.outcome(job).started - began < 2
