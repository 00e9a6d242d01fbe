"""Agents of supervised workers: in a real tmux, with real kills."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from paneview.agents.model import RunOutcome, RunStatus
from paneview.broker import Broker, Job, JobState, NewJob, Target, open_broker
from paneview.worker.pauses import paused
from tests.cli.support import Done, run
from tests.harness import Sandbox, alive, wait_until
from tests.supervisor.project import Project

FILE = """
[queue]
heartbeat_interval = 0.2
heartbeat_ttl = 2

[runners.demo]
stall_timeout = 1
linger = 0.2
[runners.brief]
preset = "demo"
timeout = 0.5
[runners.mute]
preset = "claude"
argv = ["true"]
[runners.idle]
argv = ["sleep", "60"]
stall_timeout = 0.3
[runners.slow]
preset = "demo"
stall_timeout = 0
[roles]
brief.runner = "brief"
mute.runner = "mute"
idle.runner = "idle"
slow = { runner = "slow", permissions = "edit" }
[workflows.one]
phases = [{ name = "work", role = "worker", prompt = "{{task}}" }]
[workflows.slow]
phases = [{ name = "work", role = "slow", prompt = "{{task}}" }]
[workers.agents]
role = ["planner", "worker", "brief", "mute", "idle", "slow"]
concurrency = 3
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

    def folder(self, job: str) -> Path:
        return self.project.state_dir / "runs" / job

    def children(self, job: str, count: int) -> list[int]:
        """The processes that the agent has told to have started."""

        def look() -> list[int] | None:
            lines = (self.folder(job) / "shown.log").read_text().splitlines()
            found = [int(line.split()[-1]) for line in lines if line.startswith("started ")]
            return found if len(found) == count else None

        return wait_until(look) or []

    def note(self, job: str) -> dict[str, Any]:
        file = self.folder(job) / "shim.json"
        wait_until(file.exists)
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def has(self, name: str) -> Path:
        """A file in the project's folder, once the agent has written it."""
        file = self.project.folder / name
        wait_until(file.exists)
        return file

    def delayed(self, *jobs: str) -> list[Job] | None:
        """The jobs, if all of them are put away."""
        found = [self.broker.need(job) for job in jobs]
        return found if all(one.state is JobState.DELAYED for one in found) else None

    def told(self, kind: str) -> int:
        """How many events of a kind the queue has."""
        return [event.kind for event in self.broker.events.tail(1000).events].count(kind)

    def cli(self, *args: str) -> Done:
        return run(*args, cwd=self.project.folder)

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


ENDS = {
    ("demo: fail error the disk is full", "worker"): (RunStatus.FAILED, "the disk is full"),
    ("demo: exit 3", "worker"): (RunStatus.FAILED, "it ended with exit code 3: the demo agent gives up"),
    ("demo: kill", "worker"): (RunStatus.FAILED, "it was ended by signal 9"),
    ("demo: fail max_turns", "worker"): (RunStatus.LIMIT, "it took as many turns as allowed"),
    ("demo: fail budget", "worker"): (RunStatus.BUDGET, "it spent as much as allowed"),
    ("demo: deny Bash rm -rf x", "worker"): (RunStatus.NEEDS_PERMISSION, "it was not allowed to use Bash"),
    ("demo: ask Which port?", "worker"): (
        RunStatus.NEEDS_PERMISSION,
        "it asks: Which port?",
    ),
    ("demo: hang stubborn", "brief"): (RunStatus.TIMEOUT, "it took longer than allowed"),
    ("x", "mute"): (RunStatus.NO_RESULT, "it ended without a result"),
    ("x", "idle"): (RunStatus.STALLED, "it was silent for longer than allowed"),
    # Taken up again in a session that knows nothing of these lines, the agent does its part.
    ("demo: vanish", "worker"): (RunStatus.OK, ""),
    ("demo: once hang", "worker"): (RunStatus.OK, ""),
}


def test_each_way_to_end(stage: Stage) -> None:
    done = stage.phase(
        "demo: say hello\ndemo: write a/b.txt one\\ntwo\ndemo: result made it\ndemo: cost 0.25", "slow"
    )
    jobs = {case: stage.phase(*case) for case in ENDS}
    outcome = stage.outcome(done)
    assert (outcome.status, outcome.text, outcome.cost_usd) == (RunStatus.OK, "made it", 0.25)
    assert outcome.tokens.output == 50
    assert outcome.session
    assert outcome.started <= outcome.ended <= time.time()
    assert (stage.project.folder / "a/b.txt").read_text() == "one\ntwo\n"
    found = {case: stage.outcome(job) for case, job in jobs.items()}
    assert {case: (one.status, one.error) for case, one in found.items()} == ENDS
    resumed = [found[f"demo: {verb}", "worker"].resumed for verb in ("vanish", "once hang", "kill")]
    assert resumed == [1, 1, 0]
    assert found["demo: deny Bash rm -rf x", "worker"].denials[0].input == {"command": "rm -rf x"}
    assert found["demo: exit 3", "worker"].exit_code == 3
    folder = stage.folder(done)
    events = [json.loads(line)["type"] for line in (folder / "transcript.jsonl").read_text().splitlines()]
    assert (events[0], events[-1], set(events[1:-1])) == ("system", "result", {"assistant", "user"})
    assert {oct(path.stat().st_mode & 0o777) for path in (folder, folder.parent)} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}


def test_a_rate_limit_pauses_the_runner_for_all_until_its_reset(stage: Stage) -> None:
    job = stage.phase("demo: first limited fail rate_limit 1.5\ndemo: result after the limit")
    pause = wait_until(lambda: paused(stage.broker))["demo"]
    assert pause.status == "rate_limited"
    assert pause.until is not None
    other = stage.phase("demo: result waited")
    held = wait_until(lambda: stage.delayed(job, other))
    assert held[0].attempts == 0
    # The slot is free for others.
    assert stage.outcome(stage.phase("x", "mute")).status is RunStatus.NO_RESULT
    for one, text in ((job, "after the limit"), (other, "waited")):
        assert stage.outcome(one).text == text
    assert stage.outcome(job).cost_usd == 2 * (stage.outcome(other).cost_usd or 0)
    done = stage.broker.need(job)
    assert (done.attempts, done.errors) == (1, ())
    assert done.ended_at is not None
    assert done.ended_at >= pause.until
    assert not paused(stage.broker)
    assert stage.told("runner_paused") == 1


def test_a_login_pauses_the_runner_until_somebody_resumes_it(stage: Stage) -> None:
    outcome = stage.outcome(stage.phase("demo: fail auth"))
    assert (outcome.status, outcome.error) == (RunStatus.AUTH, "Invalid API key · Please run /login")
    waits = [stage.phase(f"demo: result {number}") for number in range(2)]
    wait_until(lambda: stage.delayed(*waits))
    listed = stage.cli("runner", "list", "--json").json
    assert [(one["name"], one["status"], one["jobs"]) for one in listed["runners"] if one["paused"]] == [
        ("demo", "auth", 2)
    ]
    assert stage.cli("runner", "resume", "demo", "--json").json["results"][0]["jobs"] == 2
    assert [stage.outcome(job).text for job in waits] == ["0", "1"]
    assert (stage.told("runner_paused"), stage.told("runner_resumed")) == (1, 1)
    assert stage.cli("runner", "resume", "demo").status == 1


def test_who_lets_a_phase_go_on_that_waits_for_a_login_has_logged_in(stage: Stage) -> None:
    """Another workflow, whose job is put away meanwhile, tells what it waits for."""

    def ask(text: str) -> str:
        return str(stage.cli("ask", "--no-wait", "--workflow", "one", "--json", text).json["workflow"]["id"])

    def flow(name: str) -> Any:
        return stage.cli("workflow", "status", name, "--json").json["workflow"]

    def is_now(name: str, status: str) -> bool:
        return bool(flow(name)["status"] == status)

    def first_phase_with_a_reason(name: str) -> Any:
        phase = flow(name)["phases"][0]
        return phase if phase["reason"] else None

    for times, verb in enumerate(("resume", "approve"), 1):
        first = ask(f"demo: first {verb} fail auth\ndemo: result in")
        wait_until(partial(is_now, first, "waiting"))
        second = ask("demo: result waited")
        phase = wait_until(partial(first_phase_with_a_reason, second))
        assert (phase["status"], phase["reason"][:22]) == ("queued", "runner demo is paused:")
        assert stage.cli("workflow", verb, first).status == 0
        for name in (first, second):
            wait_until(partial(is_now, name, "done"))
            assert flow(name)["phases"][0]["reason"] == ""
        assert not paused(stage.broker)
        assert stage.told("runner_resumed") == times


def test_a_cancelled_and_a_lost_run_leave_nothing(stage: Stage) -> None:
    """The one has its shim told to end it; the other's shim is killed, so that the worker has to sweep."""
    text = "demo: spawn 1\ndemo: spawn 1 away\ndemo: append {0} x\ndemo: hang stubborn"
    jobs = {name: stage.phase(text.format(name), "slow") for name in ("cancelled", "lost")}
    pids = []
    for name, job in jobs.items():
        stage.has(name)
        pids += [stage.note(job)["agent"][0], *stage.children(job, 2)]
    session = stage.note(jobs["lost"])["session"]
    os.kill(stage.note(jobs["lost"])["pid"], signal.SIGKILL)
    stage.broker.cancel(jobs["cancelled"], "not wanted")
    lost, cancelled = (stage.outcome(jobs[name]) for name in ("lost", "cancelled"))
    assert (lost.status, lost.session) == (RunStatus.LOST, session)
    assert cancelled.status is RunStatus.CANCELLED
    assert stage.broker.need(jobs["cancelled"]).state is JobState.CANCELLED
    wait_until(lambda: not [pid for pid in pids if alive(pid)])


def test_the_pane_shows_the_agent_at_work_and_a_killed_worker_is_waited_for(stage: Stage) -> None:
    job = stage.phase(
        "demo: say good morning\ndemo: append started x\ndemo: sleep 3\ndemo: result still me", "slow"
    )
    stage.has("started")
    agent = stage.note(job)["agent"][0]
    wait_until(lambda: any("good morning" in line for line in stage.project.lines("agents")))
    assert any("slow as slow, may edit" in line for line in stage.project.lines("agents"))
    first = stage.worker()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not alive(first))
    wait_until(lambda: stage.worker() != first)  # the supervisor has swept, and started it again
    assert alive(agent)
    assert stage.outcome(job).text == "still me"
    assert stage.has("started").read_text() == "x\n"
    wait_until(lambda: any("already at work" in line for line in stage.project.lines("agents")))


def test_an_agent_outlives_the_tmux_server(stage: Stage) -> None:
    job = stage.phase("demo: append started x\ndemo: sleep 2\ndemo: result survived", "slow")
    stage.has("started")
    pid = stage.project.sandbox.tmux_server_pid()
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert stage.outcome(job).text == "survived"
    assert stage.has("started").read_text() == "x\n"


def test_a_worker_that_is_stopped_ends_its_agent(stage: Stage) -> None:
    job = stage.phase("demo: spawn 1 away\ndemo: append started x\ndemo: hang stubborn", "slow")
    stage.has("started")
    note = stage.note(job)
    (child,) = stage.children(job, 1)
    stage.project.call("stop", tasks=["agents"])
    wait_until(lambda: not any(alive(pid) for pid in (note["pid"], note["agent"][0], child)))
    assert stage.broker.need(job).state == "queued"


def test_an_agent_whose_worker_was_killed_ends_with_its_workflow_and_with_the_project(stage: Stage) -> None:
    def at_work(name: str) -> tuple[str, dict[str, Any]]:
        text = f"demo: spawn 1 away\ndemo: append {name} x\ndemo: hang"
        flow = stage.project.call("ask", text=text, workflow="slow", by="me")["workflow"]["id"]
        stage.has(name)
        note = stage.note(f"{flow}-0-1")
        (child,) = stage.children(f"{flow}-0-1", 1)
        stage.project.call("kill", tasks=["agents"])
        return flow, {"shim": note["pid"], "agent": note["agent"][0], "child": child}

    flow, cancelled = at_work("first")
    assert alive(cancelled["agent"])
    stage.project.call("workflow_cancel", id=flow)
    wait_until(lambda: stage.project.call("workflow", id=flow)["workflow"]["status"] == "cancelled")
    assert not any(map(alive, cancelled.values()))
    assert stage.project.call("workflow", id=flow)["workflow"]["unpriced"] == 1  # and not free
    stage.project.call("start", tasks=["agents"])
    _, left = at_work("second")
    os.kill(left["shim"], signal.SIGKILL)
    stage.cli("down")
    assert not any(map(alive, left.values()))


def test_from_an_idle_worker_to_the_agent_takes_no_time(stage: Stage) -> None:
    """A bound for a loaded machine; the bench has the real one."""
    stage.worker()
    assert stage.outcome(stage.phase("warm up")).status is RunStatus.OK
    began = time.time()
    job = stage.phase("demo: sleep 0.3")
    assert stage.outcome(job).started - began < 2
