"""Workflows on a real broker with real workers: what is told, kept and gone on with."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from paneview import proc
from paneview.agents import folder as place
from paneview.agents.model import RunOutcome, RunStatus, Tokens
from paneview.agents.redact import Redactor
from paneview.broker import Broker, BrokerError, Claim, JobFilter, Outcome, lanes_of
from paneview.rules.workflow import Status, begin, events
from paneview.worker.child import KEEP_ERRORS
from paneview.workflow import orchestrator
from paneview.workflow.engine import THREADS, Engine
from paneview.workflow.shelf import KEEP, SCOPE, Shelf
from paneview.workflow.shell import TAIL, Shell
from paneview.workflow.views import result, summary, whole
from tests.broker.servers import RedisServer, redis_server
from tests.harness import wait_until
from tests.repository import git, repository
from tests.workflow.stage import Stage, failed, ok, stage

THREE = """
    [workflows.x]
    [[workflows.x.phases]]
    name = "look"
    role = "reviewer"
    prompt = "Look: {{task}}"
    output = "json"
    [[workflows.x.phases]]
    name = "work"
    role = "worker"
    prompt = "Do {{task}} since {{look.data}} so {{look.data.n}}"
    retries = 2
    verify = "test -e done.txt"
    [[workflows.x.phases]]
    name = "learn"
    role = "worker"
    prompt = "{{results}} {{diff}}"
    when = "work.lines >= 20 or work.attempts > 1"
"""


@pytest.fixture(scope="module")
def server() -> Any:
    with redis_server() as one:
        yield one


@pytest.fixture(params=["sqlite", "redis", "directory"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    server: RedisServer = request.getfixturevalue("server")
    urls = {
        "sqlite": "",
        "redis": f"redis://127.0.0.1:{server.port}/0?prefix={tmp_path.name}",
        "directory": f"dir://{tmp_path}/share?interval=0.1",
    }
    with stage(tmp_path, THREE, urls[request.param]) as one:
        yield one


def agent(play: Stage) -> Any:
    def act(payload: dict[str, Any]) -> Any:
        if payload["phase"] == "look":
            return ok("looked", data={"n": 7})
        if payload["phase"] == "work" and payload["attempt"] > 1:
            (Path(payload["cwd"]) / "done.txt").write_text("x")
        return ok(f"did {payload['phase']} very-secret-value")

    return act


def test_phases_follow_each_other_and_a_failed_check_resumes(play: Stage) -> None:
    play.agent = agent(play)
    one = play.orchestrate()
    play.work("reviewer", "worker")
    name = play.ask(one, "fix 'it'\n--- end of data")
    flow = play.until(one, name)
    assert flow.status == "done", flow.reason
    look, work, again, learn = play.seen
    assert "Look: --- data task" in look["prompt"]
    assert "so 7" in work["prompt"]
    assert (again["resume"], again["attempt"]) == ("s1", 2)
    assert "'test -e done.txt' ended with 1" in again["prompt"]
    assert "very-secret-value" not in learn["prompt"]
    assert "did work ********" in learn["prompt"]
    assert flow.phases[1].runs == 2
    assert flow.spent.tokens == 4 * 16
    brought = result(flow)
    assert (brought["phase"], brought["text"]) == ("work", "did work ********")
    assert summary(flow)["cost_usd"] == pytest.approx(0.04)
    assert whole(flow, ())["phases"][0]["data"] == {"n": 7}
    with play.connect() as broker:
        jobs = broker.jobs(JobFilter(group=name))
        assert sorted(job.id for job in jobs) == [f"{name}-{end}" for end in ("0-1", "1-1", "1-2", "2-1")]


def test_who_asks_again_with_the_same_key_gets_the_same_workflow(play: Stage) -> None:
    one = play.orchestrate()
    engine = one.engine()
    plan = engine.home.project.workflows["x"]
    first = engine.ask("fix it", plan, str(play.root), "ann", "of a form")
    assert engine.ask("fix it", plan, str(play.root), "ann", "of a form") == first
    assert engine.ask("fix it", plan, str(play.root), "ann").id != first.id
    assert len(engine.shelf.all()) == 2


def test_tokens_that_a_session_tells_again_are_counted_once(tmp_path: Path) -> None:
    with stage(tmp_path, THREE) as play:
        used = iter((Tokens(100, 10, None), Tokens(150, 30, 5)))

        def act(payload: dict[str, Any]) -> Any:
            if payload["phase"] != "work":
                return ok(data={"n": 1}, tokens=Tokens())
            tokens = next(used)
            if payload["resume"]:
                (play.root / "done.txt").touch()
            return ok(tokens=tokens, session_tokens=tokens)

        play.agent = act
        one = play.orchestrate()
        play.work("reviewer", "worker")
        flow = play.until(one, play.ask(one))
        assert flow.status == "done", flow.reason
        assert [run.spent.tokens for run in flow.phases[1].history] == [110, 75]
        assert flow.spent.tokens == 185


def test_a_session_that_is_gone_is_told_everything_anew(tmp_path: Path) -> None:
    with stage(tmp_path, THREE) as play:

        def act(payload: dict[str, Any]) -> Any:
            if payload["resume"]:
                return RunOutcome(RunStatus.FAILED, error="no such session", session_gone=True)
            if "ended with 1" in payload["prompt"]:
                (play.root / "done.txt").touch()
            return ok(data={"n": 1})

        play.agent = act
        one = play.orchestrate()
        play.work("reviewer", "worker")
        flow = play.until(one, play.ask(one))
        assert flow.status == "done", flow.reason
        assert flow.phases[1].failures == 1
        _, _, again, anew, _ = play.seen
        assert (again["resume"], anew["resume"]) == ("s1", "")
        assert again["prompt"].startswith("The work is not done yet.")
        assert anew["prompt"].startswith("Do ")


def test_cancel_ends_the_run_and_retry_does_it_again(play: Stage) -> None:
    going, let_go = threading.Event(), threading.Event()

    def act(payload: dict[str, Any]) -> Any:
        going.set()
        let_go.wait(20)
        return failed("cancelled") if payload["attempt"] == 1 and payload["phase"] == "look" else ok(data={})

    play.agent = act
    one = play.orchestrate()
    play.work("reviewer", "worker")
    name = play.ask(one)
    assert going.wait(20)
    wait_until(lambda: play.phase(one, name, "look").status == "running", 20)
    one.engine().tell(name, events.CancelAsked("not needed"))
    let_go.set()
    assert play.until(one, name).reason == "not needed"
    (play.root / "done.txt").write_text("")
    one.engine().tell(name, events.RetryAsked())
    one.nudge()
    assert play.until(one, name, "done").status == "done"


def test_the_end_of_a_cancelled_run_is_found_though_its_event_was_missed(play: Stage) -> None:
    engine = Engine(play.connect(), play.home(), lambda *_: None)
    flow = engine.ask("t", engine.home.project.workflows["x"], str(play.root), "me")
    (lease,) = engine.broker.claim(Claim("w1", lanes_of("w1", ("reviewer",), "", ())))
    engine.tell(flow.id, events.CancelAsked("not needed"))
    paid = failed("cancelled", cost_usd=0.5)
    engine.broker.finish(lease, Outcome("cancelled", output=paid.to_json(), error="cancelled"))
    engine.missed()
    engine.look_round()
    flow = engine.shelf.get(flow.id)
    assert (flow.status, flow.spent.cost_usd) == ("cancelled", 0.5)
    engine.close()
    engine.broker.close()


def test_a_successor_goes_on_where_it_was_left(play: Stage) -> None:
    let_go = threading.Event()

    def act(payload: dict[str, Any]) -> Any:
        let_go.wait(20)
        return ok(data={"n": 1})

    play.agent = act
    (play.root / "done.txt").write_text("")
    first = play.orchestrate()
    name = play.ask(first)
    play.work("reviewer", "worker")
    wait_until(lambda: play.phase(first, name, "look").status == "running", 20)
    first.end()
    let_go.set()  # it ends while nobody looks
    with play.connect() as broker:
        wait_until(lambda: (job := broker.job(f"{name}-0-1")) is not None and job.result is not None, 20)
    second = play.orchestrate()
    second.nudge()
    flow = play.until(second, name)
    assert flow.status == "done"
    assert [payload["phase"] for payload in play.seen] == ["look", "work"]


def test_two_supervisors_of_one_home_advance_it_once(play: Stage, tmp_path: Path) -> None:
    (play.root / "done.txt").write_text("")
    play.agent = lambda payload: ok(data={"n": 1})
    other = tmp_path / "other"
    other.mkdir()
    one, two = play.orchestrate(), play.orchestrate(other)
    play.work("reviewer", "worker")
    names = [play.ask(each) for each in (one, two, one, two)]
    for name in names:
        assert play.until(one, name, timeout=30).status == "done"
    asked = [(payload["workflow"], payload["phase"], payload["attempt"]) for payload in play.seen]
    assert len(asked) == len(set(asked)) == 8


BUDGET = """
    [workflows.x]
    budget_usd = 0.015
    phases = [
        { name = "a", role = "worker", prompt = "a", approve = "always" },
        { name = "b", role = "worker", prompt = "b" },
        { name = "c", role = "worker", prompt = "c" },
    ]
"""


def test_people_are_asked(tmp_path: Path) -> None:
    with stage(tmp_path, BUDGET) as play:
        one = play.orchestrate()
        play.work("worker")
        name = play.ask(one)
        assert play.until(one, name, "waiting").reason == "a: a person is to approve it"
        assert not play.seen
        one.engine().tell(name, events.Approved())
        flow = play.until(one, name, "waiting")
        wait_until(lambda: one.engine().shelf.get(name).hold != "", 20)
        assert one.engine().shelf.get(name).hold == "budget: $0.02 of $0.01 is spent"
        assert [payload["phase"] for payload in play.seen] == ["a", "b"]
        assert play.seen[1]["budget_usd"] == pytest.approx(0.01)
        one.engine().tell(name, events.Resumed(budget_usd=1.0))
        flow = play.until(one, name)
        assert flow.status == "done"


def test_old_ones_are_forgotten_also_while_another_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator, "TIDY", 0.1)
    monkeypatch.setattr(orchestrator, "LOOK", 0.1)
    plan = """
        [workflows.x]
        phases = [{ name = "a", role = "worker", prompt = "a", approve = "always" }]
    """
    with stage(tmp_path, plan) as play:
        one = play.orchestrate()
        waits = play.until(one, play.ask(one), "waiting")
        shelf = one.engine().shelf
        shelf.add(replace(waits, id="recent", status=Status.DONE, ended_at=time.time()))
        shelf.add(replace(waits, id="old", status=Status.DONE, ended_at=time.time() - KEEP - 60))
        wait_until(lambda: {flow.id for flow in shelf.all()} == {waits.id, "recent"})


@pytest.mark.parametrize("ending", ["sleep 300", "trap 'exit 143' TERM; sleep 300 & wait"])
def test_a_verification_that_hangs_is_ended_with_all_it_started(tmp_path: Path, ending: str) -> None:
    text = f"""
        [workflows.x]
        [[workflows.x.phases]]
        name = "a"
        role = "worker"
        prompt = "a"
        verify = "(setsid sleep 300 & echo $! > pid); echo looking; {ending}"
        verify_timeout = 1.0
    """
    with stage(tmp_path, text) as play:
        one = play.orchestrate()
        play.work("worker")
        flow = play.until(one, play.ask(one))
        assert flow.status == "failed"
        assert "did not end well" in flow.reason
        assert "looking" in flow.phases[0].error
        pid = int((play.root / "pid").read_text())
        wait_until(
            lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text(), 10
        )


def test_a_verification_that_a_killed_supervisor_has_left_is_ended_though_it_was_cancelled(
    tmp_path: Path,
) -> None:
    with stage(tmp_path, ODD) as play, play.connect() as broker:
        home = play.home()
        flow = begin("y-1", home.project.workflows["y"], "t", cwd="/", home=home.name, by="me", now=0.0)
        broker.documents.put(SCOPE, flow.id, replace(flow, status=Status.CANCELLED).to_json(), version=0)
        marks = [f"workflow-verify-{name}-0-1" for name in ("y-1", "of-others")]
        left, theirs = (
            subprocess.Popen(["sleep", "60"], env={**os.environ, proc.MARKER: mark}) for mark in marks
        )
        try:
            play.orchestrate()
            assert left.wait(10) == -signal.SIGKILL
            assert theirs.poll() is None
        finally:
            for one in (left, theirs):
                one.kill()
                one.wait()


def test_a_secret_where_an_output_is_cut_is_masked_whole(tmp_path: Path) -> None:
    secret = "very-secret-value"
    shell = Shell(os.environ, Redactor([secret]).text)
    _, errors = shell.run(f"printf '{secret}%0{KEEP_ERRORS - 5}d' 0 >&2", str(tmp_path), "x", 10.0, {})
    assert "value" not in errors
    assert errors.endswith("000")
    _, tail = shell.run(f"printf '{secret}%0{TAIL - 5}d' 0", str(tmp_path), "x", 10.0, {})
    assert set(tail) == {"*", "0"}


def test_lines_are_counted_without_touching_the_index(tmp_path: Path) -> None:
    text = """
        [workflows.x]
        [[workflows.x.phases]]
        name = "a"
        role = "worker"
        prompt = "a"
        [[workflows.x.phases]]
        name = "b"
        role = "worker"
        prompt = "{{diff}}"
        when = "a.lines >= 3"
    """
    with stage(tmp_path, text) as play:
        (play.root / "old.txt").write_text("one\ntwo\n")
        repository(play.root)
        (play.root / "staged.txt").write_text("staged\n")
        git(play.root, "add", "staged.txt")
        before = git(play.root, "status", "--porcelain")

        def act(payload: dict[str, Any]) -> Any:
            if (payload["phase"], payload["attempt"]) == ("a", 1):
                (play.root / "old.txt").write_text("one\n2\nthree\n")
                return failed("no_result")
            if payload["phase"] == "a":
                (play.root / "new.txt").write_text("new\n")
            return ok()

        play.agent = act
        one = play.orchestrate()
        play.work("worker")
        flow = play.until(one, play.ask(one))
        assert (flow.phases[0].lines, flow.phases[0].files) == (4, 2)
        assert "+three" in play.seen[2]["prompt"]
        assert "staged" not in play.seen[2]["prompt"]
        after = git(play.root, "status", "--porcelain")
        assert before.strip() in after
        assert "A  staged.txt" in after
        assert "?? new.txt" in after


def test_a_look_at_how_it_was_calls_nothing_off(tmp_path: Path) -> None:
    text = """
        [workflows.x]
        [[workflows.x.phases]]
        name = "work"
        role = "worker"
        prompt = "{{task}}"
        retries = 0
        verify = "touch began; until test -e go; do sleep 0.1; done"
    """
    with stage(tmp_path, text) as play:
        one = play.orchestrate()
        play.work("worker")
        name = play.ask(one)
        before = one.engine().shelf.get(name)
        wait_until((play.root / "began").exists, 20)
        one.engine().advance(before)  # as a thread does that has read it a moment too early
        (play.root / "go").touch()
        flow = play.until(one, name)
        assert (flow.status, flow.reason) == ("done", "")


ODD = """
    [workflows.x]
    phases = [{ name = "a", role = "worker", prompt = "a" }, { name = "b", role = "worker", prompt = "{{diff}}" }]
    [workflows.y]
    phases = [{ name = "a", role = "other", prompt = "a" }]
"""


class Odd:
    """What a worker of another version might bring."""

    def to_json(self) -> dict[str, Any]:
        return {"status": "ok", "text": None}


def test_a_result_that_nobody_understands_harms_its_own_workflow_only(tmp_path: Path) -> None:
    with stage(tmp_path, ODD) as play:
        play.agent = lambda payload: Odd() if payload["workflow"].startswith("x") else ok()  # type: ignore[return-value, arg-type]
        one = play.orchestrate()
        well, ill = play.ask(one, plan="y"), play.ask(one, plan="x")
        play.work("worker", "other")
        assert "can't be read" in play.until(one, ill).reason
        assert play.until(one, well).status == "done"


def test_what_can_never_begin_has_failed(tmp_path: Path) -> None:
    long = "x" * 200_000  # more than Linux takes of an argument
    text = f"""
        [workflows.x]
        phases = [{{ name = "a", role = "wor ker", prompt = "a" }}]
        [workflows.y]
        phases = [{{ name = "a", role = "worker", prompt = "a", timeout = 1e12, verify = "{long}", retries = 0 }}]
    """
    with stage(tmp_path, text) as play:
        one = play.orchestrate()
        play.work("worker")
        assert "role 'wor ker' holds a space" in play.until(one, play.ask(one)).reason
        flow = play.until(one, play.ask(one, plan="y"))
        assert (flow.status, flow.phases[0].error.partition(": ")[2]) == ("failed", "Argument list too long")


def test_what_a_killed_queue_has_lost_is_done_again(tmp_path: Path) -> None:
    """As a Redis that writes to disk once a second loses what came since."""
    with stage(tmp_path, ODD) as play, play.connect() as broker:
        shelf = Shelf(broker)
        flow = begin("y-1", play.home().project.workflows["y"], "t", cwd="/", home="h", by="me", now=0.0)
        shelf.add(flow)
        shelf.change(flow.id, events.Begun())
        assert shelf.all()[0].status == "running"
        with closing(sqlite3.connect(play.state / "queue.db")) as database, database:
            lost = (json.dumps(flow.to_json()), flow.id)
            database.execute("UPDATE documents SET version = 1, value = ? WHERE name = ?", lost)
        assert shelf.all()[0].status == "preparing"
        shelf.change(flow.id, events.Begun())
        assert [one.status for one in Shelf(broker).all()] == ["running"]


def test_a_workflow_of_a_later_version_keeps_no_other_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stage(tmp_path, ODD) as play, play.connect() as broker:
        flow = begin("z-1", play.home().project.workflows["y"], "t", cwd="/", home="h", by="me", now=0.0)
        broker.documents.put(SCOPE, "z-1", {**flow.to_json(), "status": "pondering"}, version=0)
        one = play.orchestrate()
        play.work("other")
        assert play.until(one, play.ask(one, plan="y")).status == "done"
        with pytest.raises(BrokerError, match="z-1 is of another version of paneview"):
            one.engine().shelf.get("z-1")
        assert caplog.text.count("z-1 is of another version") == 1


def test_files_are_counted_whatever_they_are_called(tmp_path: Path) -> None:
    with stage(tmp_path, ODD) as play:
        repository(play.root)
        git(play.root, "config", "core.quotePath", "false")

        def act(payload: dict[str, Any]) -> Any:
            for name in ("a\u2028b", 'c\n"d', "e\tf"):
                (play.root / name).write_text("one\ntwo\n")
            return ok()

        play.agent = act
        one = play.orchestrate()
        play.work("worker", "other")
        flow = play.until(one, play.ask(one))
        assert (flow.phases[0].lines, flow.phases[0].files) == (6, 3)


def test_what_could_not_be_counted_is_a_persons_to_judge(tmp_path: Path) -> None:
    text = """
        [workflows.x]
        phases = [
            { name = "a", role = "worker", prompt = "a" },
            { name = "seen", role = "worker", prompt = "Review {{diff}}", needs = ["a"] },
            { name = "more", role = "worker", prompt = "b", when = "a.lines > 20", needs = ["a"] },
        ]
    """
    with stage(tmp_path, text) as play:
        repository(play.root)

        def act(payload: dict[str, Any]) -> Any:
            if payload["phase"] == "a":
                (play.root / ".gitattributes").write_text("* filter=mine\n")
                git(play.root, "config", "filter.mine.clean", f"touch {tmp_path}/ran; cat")
            return ok()

        play.agent = act
        one = play.orchestrate()
        play.work("worker")
        name = play.ask(one)
        flow = play.until(one, name, "waiting")
        assert flow.reason.startswith("more: a.lines is not known: the filters in the configuration of")
        prompt = next(payload["prompt"] for payload in play.seen if payload["phase"] == "seen")
        assert "(what was changed is not known: the filters" in prompt
        assert not (tmp_path / "ran").exists()  # of its choice, with the user's rights
        one.engine().tell(name, events.Approved())
        assert [phase.status for phase in play.until(one, name).phases] == ["done"] * 3


def test_without_a_repository_a_prompt_claims_nothing(tmp_path: Path) -> None:
    with stage(tmp_path, ODD) as play:
        one = play.orchestrate()
        play.work("worker", "other")
        assert play.until(one, play.ask(one)).status == "done"
        assert "is in no git repository" in play.seen[1]["prompt"]


def test_another_name_of_the_host_strands_nothing(play: Stage) -> None:
    play.agent = lambda payload: ok(data={"n": 1})
    (play.root / "done.txt").write_text("")
    first = play.orchestrate()
    name = play.ask(first)
    first.end()
    (play.root / "paneview.toml").write_text(f'[queue]\nhost = "elsewhere"\n{dedent(THREE)}')
    second = play.orchestrate()
    play.work("reviewer", "worker")
    flow = play.until(second, name)
    assert flow.status == "done", flow.reason


def test_a_stray_agents_end_waits_for_no_verification(tmp_path: Path) -> None:
    let_go = threading.Event()
    with stage(tmp_path, ODD) as play:
        one = play.orchestrate()
        engine, name = one.engine(), play.ask(one, plan="y")
        wait_until(lambda: engine.broker.job(f"{name}-0-1") is not None)
        folder = place.make(place.run_folder(play.state, f"{name}-0-1"))
        with subprocess.Popen(["sleep", "60"]) as shim:
            note = {"pid": shim.pid, "start": proc.identify(shim.pid)[1], "boot": proc.boot_id()}  # type: ignore[index]
            place.write_json(folder / place.SHIM, note)
            for _ in range(THREADS):
                engine._pool.submit(let_go.wait, 60)
            try:
                engine.tell(name, events.CancelAsked("not needed"))
                assert play.until(one, name).reason == "not needed"
                assert shim.wait(10) == -signal.SIGTERM
            finally:
                let_go.set()
                shim.kill()


def test_its_end_does_not_wait_for_a_broker_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage(tmp_path, ODD) as play:
        connect, connecting, answers = play.connect, threading.Event(), threading.Event()

        def slow() -> Broker:
            connecting.set()
            answers.wait(20)
            return connect()

        monkeypatch.setattr(play, "connect", slow)
        one = play.orchestrate()
        assert connecting.wait(20)
        ending = threading.Thread(target=one.end)
        ending.start()
        ending.join(4)
        waited = ending.is_alive()
        answers.set()
        ending.join()
        assert not waited
        one.join(20)
        assert one._engine is None, "what it was given after all is closed, and nobody else has it"


def test_its_end_is_not_slept_through_while_it_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator, "IDLE", 60.0)
    with stage(tmp_path, ODD) as play:
        made: list[orchestrator.Orchestrator] = []
        connect, connecting = play.connect, threading.Event()

        def slow() -> Broker:
            connecting.set()
            wait_until(lambda: made and made[0]._nudge.is_set())  # the last that `end` does before it waits
            return connect()

        monkeypatch.setattr(play, "connect", slow)
        made.append(play.orchestrate())
        assert connecting.wait(20)
        made[0].end()
        assert not made[0].is_alive()
