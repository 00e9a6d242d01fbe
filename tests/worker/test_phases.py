"""Phases of workflows: real workers that have the demo agent do them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paneview.agents import folder as place
from paneview.agents.model import RunOutcome, RunStatus
from paneview.broker import Claim, JobState, NewJob, Target, UnavailableError, lanes_of, open_broker
from paneview.rules.workflow import Phase, PhasePlan, PhaseStatus, Plan, Status, begin
from paneview.worker import Command, Setup, phases
from paneview.worker.pauses import LOGINS, SCOPE, logged_in, pause, paused, unlimited
from paneview.worker.setup import Identity
from paneview.workflow.shelf import Shelf
from tests.harness import Sandbox, alive, wait_until
from tests.worker.support import Farm

FILE = """
[runners.demo]
stall_timeout = 1
linger = 0.2
[runners.slow]
preset = "demo"
stall_timeout = 0
max_concurrent = 1
[runners.missing]
preset = "claude"
argv = ["no-such-agent"]
[roles.planner]
runner = "demo"
[roles.worker]
runner = "demo"
[roles.slow]
runner = "slow"
permissions = "edit"
[roles.missing]
runner = "missing"
"""
ROLES = [word for role in ("planner", "worker", "slow", "missing") for word in ("--role", role)]


class Agents:
    """A farm whose workers have agents do phases."""

    def __init__(self, farm: Farm, home: Path) -> None:
        self.farm = farm
        self.home = home
        (farm.folder / "paneview.toml").write_text(FILE)

    def phase(self, prompt: str, role: str = "worker", **more: Any) -> str:
        payload = {"workflow": "w1", "phase": "work", "attempt": 1, "prompt": prompt, **more}
        return self.farm.submit("phase", payload, Target(role=role), timeout=600)

    def outcome(self, job: str) -> RunOutcome:
        done = self.farm.over(job)
        assert done.result is not None
        assert done.result.status == "ok", done.result.error
        return RunOutcome.from_json(done.result.output)

    def do(self, prompt: str, role: str = "worker", **more: Any) -> RunOutcome:
        return self.outcome(self.phase(prompt, role, **more))

    def folder(self, job: str) -> Path:
        return next(self.home.glob(f"*/runs/{job}"))

    def note(self, job: str) -> dict[str, Any]:
        """Who does the run, once that is known."""

        def look() -> Any:
            found = list(self.home.glob(f"*/runs/{job}/shim.json"))
            return json.loads(found[0].read_text()) if found else None

        return wait_until(look)

    def started(self, name: str = "started") -> int:
        """The demo agent's pid, once it has told that it began (`demo: append started x`)."""
        return len(wait_until(lambda: self.lines(name)))

    def lines(self, name: str) -> list[str]:
        file = self.farm.folder / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def agents(farm: Farm, sandbox: Sandbox) -> Agents:
    return Agents(farm, sandbox.home)


def test_what_stays_or_waits_for_its_provider_is_ended_or_waited_for(agents: Agents) -> None:
    agents.farm.ready(*ROLES, "--concurrency", "2")
    stays = agents.phase("demo: spawn 2 away\ndemo: result all done\ndemo: stay")
    retries = agents.do("demo: retry 1 2\ndemo: result recovered")
    assert (retries.status, retries.resumed) == (RunStatus.OK, 0)
    outcome = agents.outcome(stays)
    assert (outcome.status, outcome.text, outcome.resumed) == (RunStatus.OK, "all done", 0)
    left = [int(line.split()[-1]) for line in _shown(agents, stays) if line.startswith("started ")]
    assert len(left) == 2
    assert not [pid for pid in left if alive(pid)]


def test_a_file_that_is_being_edited_is_used_as_it_was(agents: Agents) -> None:
    worker = agents.farm.ready(*ROLES)
    assert agents.do("demo: result before").text == "before"
    file = agents.farm.folder / "paneview.toml"
    for wrong in ("broken = [\n", "[roles.other]\nrunner = 5\n"):
        file.write_text(FILE + wrong)
        assert agents.do("demo: result as before").text == "as before"
    assert "the file is broken, and used as it was" in agents.farm.said(worker)
    file.write_text(FILE.replace('"no-such-agent"', '"echo", "changed"').replace("claude", "aider"))
    assert "changed" in agents.do("x", "missing").text


def test_results_that_are_to_be_json(agents: Agents) -> None:
    agents.farm.ready(*ROLES)
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 3}}}
    assert agents.do("x", schema=schema).data == {"n": 3}
    outcome = agents.do('demo: json {"n": 1}', schema=schema)
    assert (outcome.status, outcome.resumed, outcome.data) == (RunStatus.OK, 1, {"n": 3})
    assert agents.do("x", budget_usd=0.001).status is RunStatus.BUDGET


def test_what_a_role_may(agents: Agents) -> None:
    agents.farm.ready(*ROLES)
    outcome = agents.do("demo: write x.txt hi\ndemo: argv", "planner")
    assert outcome.ok
    assert not (agents.farm.folder / "x.txt").exists()
    assert "--permission-mode=default" in json.loads(outcome.text)
    assert "--permission-mode=acceptEdits" in json.loads(agents.do("demo: argv").text)
    assert agents.do("demo: deny Bash make", allow=["Bash"]).ok
    assert agents.farm.over(agents.phase("x", allow=["--all", "a b"])).state is JobState.DEAD
    failed = agents.do("x", "missing")
    assert (failed.status, failed.error) == (
        RunStatus.FAILED,
        "missing cannot be started: No such file or directory",
    )
    outside = agents.farm.over(agents.phase("x", cwd="/"))
    assert outside.state is JobState.DEAD
    told = f"outside what this worker allows: name a folder in {agents.farm.folder} (`-d`), or have"
    assert told in outside.errors[-1].error
    tree = next(agents.home.glob("*/runs")).parent / "worktrees" / "w1"
    tree.mkdir(parents=True)
    assert agents.do("demo: write y.txt hi", cwd=str(tree)).ok
    assert (tree / "y.txt").exists()
    (tree / "out").symlink_to("/")
    assert agents.farm.over(agents.phase("x", cwd=str(tree / "out"))).state is JobState.DEAD


PROMPTS = {
    "large": "x" * 300_000 + "\ndemo: nothing",
    "dash": "--help -p --dangerously-skip-permissions",
    "shell": 'it\'s "quoted" $(touch owned) `touch owned`; touch owned && \\ \n\n !x * ? ~ #\r\n\ttab',
    "escapes": "\x1b]0;title\x07 \x1b[31mred \x00 nul \x7f ünïcödé 🎉 \u2028 \x85",
}


def test_prompts_arrive_byte_for_byte_and_run_nothing(agents: Agents) -> None:
    """A plain program gives its standard input back."""
    cat = '[runners.cat]\nargv = ["cat"]\n[roles.worker]\nrunner = "cat"'
    text = FILE.replace('[roles.worker]\nrunner = "demo"', cat)
    (agents.farm.folder / "paneview.toml").write_text(text)
    agents.farm.ready(*ROLES)
    jobs = {name: agents.phase(prompt) for name, prompt in PROMPTS.items()}
    for name, job in jobs.items():
        assert agents.outcome(job).status is RunStatus.OK
        given = (agents.folder(job) / "transcript.jsonl").read_bytes()
        assert given == PROMPTS[name].encode() + b"\n", name
    assert not list(agents.farm.folder.rglob("owned"))
    shown = (agents.folder(jobs["escapes"]) / "shown.log").read_text()
    assert "\x1b" not in shown
    assert "red" in shown


def test_secrets_stay_out_of_all_that_is_kept(agents: Agents) -> None:
    secret = 'correct "horse"\\battery'
    token = "ghp_" + "a1B2" * 9
    agents.farm.ready(*ROLES, MY_TOKEN=secret)
    job = agents.phase(f"Use {secret}, {token}.\ndemo: env MY_TOKEN\ndemo: say {token}")
    outcome = agents.outcome(job)
    assert outcome.text == "MY_TOKEN=********"
    kept = {path.name: path.read_text() for path in agents.folder(job).iterdir()}
    forms = (secret, json.dumps(secret)[1:-1], token)
    assert not {name for name, text in kept.items() if any(form in text for form in forms)}
    assert "Use ********, ********." in kept["prompt.txt"]


def test_a_limit_is_waited_for_though_its_end_cannot_be(farm: Farm) -> None:
    """Nor does a limit that comes again and again have its runner called all the time."""

    def limited(runner: str, reset: float | None) -> int:
        began = time.time()
        outcome = RunOutcome(RunStatus.RATE_LIMITED, reset_at=None if reset is None else began + reset)
        until = pause(farm.broker, runner, outcome, job="j", host="h").until
        farm.broker.flags.clear(SCOPE, runner)  # as if it were over
        return round(until - began) if until else 0

    assert [limited("past", -1), limited("far", ms := time.time() * 999), limited("none", None)] == [60] * 3
    assert [limited("past", -1), limited("far", ms), limited("far", 90)] == [120, 120, 90]
    assert [limited("short", 0.1) for _ in range(14)][-3:] == [1024, 1800, 1800]
    unlimited(farm.broker, "short")
    assert limited("short", 3) == 3
    pause(
        farm.broker,
        "far",
        RunOutcome(RunStatus.RATE_LIMITED, reset_at=time.time() + 3 * 86400),
        job="j",
        host="h",
    )
    day = time.strftime("%Y-%m-%dT", time.gmtime(time.time() + 3 * 86400))
    assert f"paused until {day}" in farm.cli("runner", "list").out


def test_without_a_supervisor_a_workflow_that_goes_on_has_its_runner_go_on(farm: Farm) -> None:
    """Only the one whose login it waited for."""
    (farm.folder / "paneview.toml").write_text("")
    plan = Plan("x", (PhasePlan("a", "worker"),))
    waits = Phase(PhaseStatus.WAITING_PERSON, attempt=1, outcome="auth")
    flow = begin("w1", plan, "x", cwd="/", home="h", by="me", now=time.time())
    Shelf(farm.broker).add(replace(flow, status=Status.WAITING, phases=(waits,)))
    for runner, job in (("mine", "w1-0-1"), ("other", "w2-0-1")):
        pause(farm.broker, runner, RunOutcome(RunStatus.AUTH), job=job, host="h")
    assert farm.cli("workflow", "resume", "w1").status == 0
    assert list(paused(farm.broker)) == ["other"]


def test_no_more_runs_at_once_than_may_be(agents: Agents) -> None:
    """Over two workers, each with room for two."""
    for _ in range(2):
        agents.farm.ready(*ROLES, "--concurrency", "2")
    text = "demo: append log in\ndemo: sleep 0.2\ndemo: append log out"
    jobs = [agents.phase(text, "slow") for _ in range(4)]
    assert [agents.outcome(job).status for job in jobs] == [RunStatus.OK] * 4
    assert agents.lines("log") == ["in", "out"] * 4


def test_the_next_worker_waits_for_the_agent_of_a_killed_one(agents: Agents) -> None:
    first = agents.farm.ready(*ROLES)
    job = agents.phase("demo: append started x\ndemo: sleep 2\ndemo: result one and the same", "slow")
    agents.started()
    agent = agents.note(job)["agent"][0]
    agents.farm.end(first, signal.SIGKILL)
    assert alive(agent)
    agents.farm.broker.release_owner(agents.farm.broker.need(job).owner, "its process died")
    second = agents.farm.ready(*ROLES)
    assert agents.outcome(job).text == "one and the same"
    assert agents.lines("started") == ["x"]
    assert "already at work" in agents.farm.said(second)


def test_a_worker_that_has_lost_its_lease_leaves_the_agent_to_whoever_gets_the_job_here(
    agents: Agents,
) -> None:
    worker = agents.farm.ready(*ROLES)
    job = agents.phase("demo: append started x\ndemo: sleep 2\ndemo: result one and the same", "slow")
    agents.started()
    agents.farm.broker.release_owner(agents.farm.broker.need(job).owner, "it was taken for dead")
    assert agents.outcome(job).text == "one and the same"
    assert agents.lines("started") == ["x"]
    assert "already at work" in agents.farm.said(worker)


def test_a_run_that_was_ended_with_its_worker_is_taken_up_again(agents: Agents) -> None:
    first = agents.farm.ready(*ROLES)
    job = agents.phase("demo: append started x\ndemo: once hang\ndemo: argv", "slow")
    agents.started()
    note = wait_until(lambda: found if (found := agents.note(job))["session"] else None)
    agents.farm.end(first, signal.SIGKILL)
    os.kill(note["pid"], signal.SIGTERM)
    wait_until((agents.folder(job) / "outcome.json").exists)
    agents.farm.broker.release_owner(agents.farm.broker.need(job).owner, "its process died")
    agents.farm.ready(*ROLES)
    assert f"--resume={note['session']}" in agents.outcome(job).text


def test_a_run_that_ended_while_no_worker_was_there_counts_once(agents: Agents) -> None:
    first = agents.farm.ready(*ROLES)
    job = agents.phase("demo: append started x\ndemo: sleep 0.5\ndemo: result done alone")
    agents.started()
    agents.farm.end(first, signal.SIGKILL)
    wait_until((agents.folder(job) / "outcome.json").exists)
    agents.farm.broker.release_owner(agents.farm.broker.need(job).owner, "its process died")
    agents.farm.ready(*ROLES)
    assert agents.outcome(job).text == "done alone"
    assert agents.lines("started") == ["x"]


def test_a_shim_that_is_killed_with_its_worker_has_lost_its_run(agents: Agents) -> None:
    worker = agents.farm.ready(*ROLES)
    job = agents.phase("demo: append started x\ndemo: spawn 1 away\ndemo: hang stubborn", "slow")
    agents.started()
    note = wait_until(lambda: found if (found := agents.note(job))["session"] else None)
    agents.farm.end(worker, signal.SIGKILL)
    os.kill(note["pid"], signal.SIGKILL)
    agents.farm.broker.release_owner(agents.farm.broker.need(job).owner, "its process died")
    agents.farm.ready(*ROLES)
    outcome = agents.outcome(job)
    assert (outcome.status, outcome.session) == (RunStatus.LOST, note["session"])
    assert not alive(note["agent"][0])
    assert agents.lines("started") == ["x"]


def test_a_worker_that_ends_has_its_run_taken_up_again_in_its_session(agents: Agents) -> None:
    first = agents.farm.ready(*ROLES, "--grace", "0.1")
    job = agents.phase("demo: append started x\ndemo: once hang\ndemo: argv", "slow")
    agents.started()
    note = wait_until(lambda: found if (found := agents.note(job))["session"] else None)
    agents.farm.end(first)
    assert not alive(note["agent"][0])
    assert agents.farm.broker.need(job).attempts == 0
    agents.farm.ready(*ROLES)
    assert f"--resume={note['session']}" in agents.outcome(job).text


def test_a_worker_whose_terminal_is_gone_leaves_its_agent_at_work(agents: Agents) -> None:
    first = agents.farm.ready(*ROLES)
    job = agents.phase("demo: append started x\ndemo: sleep 2\ndemo: result still the first", "slow")
    agents.started()
    agents.farm.end(first, signal.SIGHUP)
    agents.farm.ready(*ROLES)
    assert agents.outcome(job).text == "still the first"
    assert agents.lines("started") == ["x"]


def test_an_outcome_is_not_lost_because_its_seat_cannot_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paneview.toml").write_text(FILE)
    setup = Setup(roles=("slow",), file=tmp_path / "paneview.toml", state=tmp_path, environ={})

    def away(_leader: object) -> None:
        raise UnavailableError("the queue does not answer")

    with open_broker(f"sqlite:///{tmp_path}/queue.db") as broker:
        monkeypatch.setattr(broker, "resign", away)
        job = broker.submit(NewJob("phase", {"prompt": "x"})).id
        mine = place.make(place.run_folder(tmp_path, job))
        place.write_json(mine / place.OUTCOME, RunOutcome(RunStatus.OK, "done").to_json())
        (lease,) = broker.claim(Claim("w1", lanes_of("w1", (), "", ())))
        do = phases.Phases(setup, Identity.of(setup), lambda: broker, str)
        assert do(Command(lease, lambda _line: None, lambda _why: None))["text"] == "done"


def test_a_worker_looks_for_old_runs_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "PRUNE_EVERY", 0.0)
    setup = Setup(state=tmp_path, environ={})
    with open_broker(f"sqlite:///{tmp_path}/queue.db") as broker:
        do = phases.Phases(setup, Identity.of(setup), lambda: broker, str)
        for turn in ("first", "second"):
            old = place.make(place.run_folder(tmp_path, turn))
            os.utime(old, (0, 0))
            job = broker.submit(NewJob("phase", {"prompt": "x"})).id
            mine = place.make(place.run_folder(tmp_path, job))  # somebody has done it, and was killed
            place.write_json(mine / place.OUTCOME, RunOutcome(RunStatus.OK, "done").to_json())
            os.utime(mine / place.OUTCOME, (0, 0))
            (lease,) = broker.claim(Claim("w1", lanes_of("w1", (), "", ())))
            brought = do(Command(lease, lambda _line: None, lambda _why: None))
            assert brought["text"] == "done"
            assert not old.exists()


def test_roles_that_may_not_be_taken_here(farm: Farm) -> None:
    (farm.folder / "paneview.toml").write_text('[roles.far]\nhosts = ["elsewhere"]')
    done = farm.cli("worker", "--role", "far", "--once", "--json")
    assert done.status == 1
    assert "keep far away from" in done.json["error"]
    done = farm.cli("worker", "--runner", "cluade", "--once")
    assert (done.status, "there is no runner 'cluade'" in done.err) == (2, True)
    worker = farm.ready("--role", "far", "--role", "near")
    assert farm.of(worker.pid).worker.roles == ("near",)


def _shown(agents: Agents, job: str) -> list[str]:
    return (agents.folder(job) / "shown.log").read_text().splitlines()


def test_for_which_runner_a_login_was_missing_is_known_after_a_reboot(tmp_path: Path) -> None:
    lacking = RunOutcome(RunStatus.AUTH, error="not logged in")
    with open_broker("sqlite:", project_dir=tmp_path) as broker:
        for job in ("one", "other"):
            pause(broker, "claude", lacking, job=job, host="h")
    with closing(sqlite3.connect(tmp_path / "queue.db")) as database, database:
        database.execute("UPDATE facts SET value = 'another boot' WHERE name = 'boot'")
    with open_broker("sqlite:", project_dir=tmp_path) as broker:
        assert paused(broker)
        logged_in(broker, ["other"])
        assert (paused(broker), broker.flags.all(LOGINS)) == ({}, {})
