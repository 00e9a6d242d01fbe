"""Rows P9, P10, P11 and P14: asking, the workflow's five panes, its status, and who the agents are and may do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.harness import alive, marked, wait_until, words_of
from tests.parity.place import PANEVIEW, PATIENCE, Json, Place
from tests.repository import repository

pytestmark = pytest.mark.timeout(120)

WORKERS = """\
[runners.demo]
[workers.agents]
role = ["planner", "reviewer", "worker", "compounder"]
concurrency = 2
"""
TWO = """\
[workflows.two]
[[workflows.two.phases]]
name = "one"
role = "worker"
prompt = "{{task}}"
[[workflows.two.phases]]
name = "two"
role = "worker"
prompt = "{{task}}"
"""
DONE = ("done", "failed", "cancelled")


def flow(place: Place, name: str) -> Json:
    found: Json = place.ask("workflow-status", name)["workflow"]
    return found


def wait_flow(place: Place, name: str, *statuses: str) -> Json:
    """The workflow as soon as it has one of these states."""
    try:
        wait_until(lambda: flow(place, name)["status"] in statuses, PATIENCE, 0.05)
    except AssertionError as error:
        raise AssertionError(f"{error}; now: {flow(place, name)}") from error
    return flow(place, name)


def agents(place: Place) -> list[int]:
    """The demo agents that run now."""
    return [one.pid for one in marked(place.sandbox.marker) if "paneview.agents.demo" in words_of(one)]


def test_P09_a_sentence_is_reviewed_planned_done_and_learnt_from(place: Place) -> None:
    place.start(WORKERS)
    text = "greet\ndemo@work: write hello.txt hello\ndemo@work: result it says hello\ndemo@work: cost 0.25"
    done = place.run("ask", "-v", text)
    assert (done.status, done.out) == (0, "it says hello\n"), done.err
    for words in ("✓ review", "✓ plan", "✓ work", "\u2013 compound"):
        assert words in done.err
    assert (place.folder / "hello.txt").read_text().strip() == "hello"
    kinds = {event["event"] for event in place.events("workflow_started", "workflow_done")}
    assert kinds == {"workflow_started", "workflow_done"}


def test_P09_work_that_changes_much_is_written_down(place: Place) -> None:
    place.start(WORKERS)
    lines = "\\n".join(f"line {number}" for number in range(25))
    repository(place.folder)
    done = place.ask("ask", f"much\ndemo@work: write much.txt {lines}\ndemo@compound: write AGENTS.md learnt")
    phases = {phase["name"]: phase for phase in done["result"]["phases"]}
    assert phases["compound"]["status"] == "done"
    assert (place.folder / "AGENTS.md").read_text().strip() == "learnt"


def test_P09_it_goes_on_after_the_death_of_supervisor_and_worker(place: Place) -> None:
    place.start(WORKERS + TWO)
    text = "go\ndemo@one: append one.txt here\ndemo@one: sleep 3\ndemo@two: append two.txt here"
    name = place.ask("ask", "--no-wait", "--workflow", "two", text)["workflow"]["id"]
    place.wait_file("one.txt")
    worker = place.task("agents")["pid"]
    place.kill_supervisor()
    os.kill(worker, signal.SIGKILL)
    place.supervise()
    place.ask("start")
    found = wait_flow(place, name, *DONE)
    assert found["status"] == "done", found
    assert (place.folder / "one.txt").read_text().split() == ["here"]
    assert (place.folder / "two.txt").read_text().split() == ["here"]
    assert [phase["attempt"] for phase in found["phases"]] == [1, 1]


def test_P09_no_wait_folder_cancel_approve_and_retry(place: Place) -> None:
    approved = TWO.replace('name = "two"\nrole', 'name = "two"\napprove = "always"\nrole')
    place.start(WORKERS + approved)
    (place.folder / "inner").mkdir()
    text = "go\ndemo@one: write here.txt x\ndemo@two: hang"
    name = place.ask("ask", "--no-wait", "-d", "inner", "--workflow", "two", text)["workflow"]["id"]
    assert wait_flow(place, name, "waiting")["reason"] == "two: a person is to approve it"
    assert (place.folder / "inner/here.txt").exists()
    place.ask("workflow", "approve", name)
    wait_until(lambda: agents(place), PATIENCE)
    place.ask("workflow", "cancel", name, "--why", "enough")
    assert wait_flow(place, name, *DONE)["reason"] == "enough"
    wait_until(lambda: not agents(place), PATIENCE)
    place.ask("workflow", "retry", name, "--from", "two")
    wait_flow(place, name, "waiting")
    place.ask("workflow", "reject", name, "--why", "no more")
    found = wait_flow(place, name, *DONE)
    assert found["phases"][1]["reason"].endswith(": no more")
    assert found["phases"][0]["attempt"] == 1


WILD = (
    "-rf --help\n'\"`$(touch owned)` ${HOME} \\ \x1b[31mred\x1b]0;t\x07 "
    "{{task}} {{diff}}\r\n\t ü€😀\u2028 #{pane_id} ;|&><*?~! \n"
)


def test_P09_what_is_asked_reaches_the_agent_byte_for_byte_and_runs_nothing(place: Place) -> None:
    program = place.folder / "mine.sh"
    program.write_text('#!/bin/sh\ncat > "got.$PANEVIEW_WORKFLOW"; echo done\n')
    program.chmod(0o755)
    place.start(
        f"""\
[runners.mine]
argv = ["{program}"]
[roles.mine]
runner = "mine"
[workers.mine]
role = "mine"
[workflows.mine]
phases = [{{ name = "a", role = "mine", prompt = "{{{{task}}}}" }}]
"""
    )
    for text in (WILD * 3000, "-x", WILD.rstrip()):
        given = text.encode()
        command = [PANEVIEW, "ask", "--workflow", "mine", "--json", "-"]
        done = subprocess.run(command, cwd=place.folder, input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout
        name = json.loads(done.stdout)["result"]["id"]
        head, _, rest = (place.folder / f"got.{name}").read_bytes().partition(b"\n")
        mark = head.removeprefix(b"--- data task ")
        assert rest == given + b"\n--- end of data " + mark
    assert len(WILD * 3000) > 300_000
    assert not list(place.folder.glob("owned"))


def test_P10_five_panes_and_their_end(place: Place) -> None:
    place.write("[runners.demo]\n")
    made = place.ask("workflow-setup", "--no-attach", "--session", "crew")
    assert [pane["title"] for pane in made["panes"]] == [
        "orchestrator", "planner", "reviewer", "worker", "compounder",
    ]  # fmt: skip
    assert "crew" in place.sandbox.tmux("list-sessions", "-F", "#{session_name}").split()
    done = place.ask("ask", "hello\ndemo@work: result done by the crew")
    assert done["result"]["text"] == "done by the crew"
    shown = place.sandbox.tmux("capture-pane", "-p", "-t", made["panes"][0]["pane"])
    assert done["result"]["id"] in shown
    place.ask("workflow-teardown", "crew")
    wait_until(lambda: not any(alive(pane["pid"]) for pane in made["panes"]), PATIENCE)
    assert "crew" not in place.sandbox.tmux("list-sessions", "-F", "#{session_name}").split()


def test_P11_tokens_money_and_time_of_each_phase(place: Place) -> None:
    place.start(WORKERS + TWO)
    text = "go\ndemo@one: cost 0.5\ndemo@one: tokens 100 20\ndemo@two: cost none\ndemo@two: tokens 10 5"
    name = place.ask("ask", "--no-wait", "--workflow", "two", text)["workflow"]["id"]
    found = wait_flow(place, name, *DONE)
    one, two = found["phases"]
    assert (one["cost_usd"], one["tokens"]["total"], one["unpriced"]) == (0.5, 120, 0)
    assert (two["cost_usd"], two["tokens"]["total"], two["unpriced"]) == (None, 15, 1)
    assert (found["cost_usd"], found["unpriced"], found["tokens"]["total"]) == (0.5, 1, 135)
    assert [(run["outcome"], run["cost_usd"]) for run in one["history"]] == [("ok", 0.5)]
    worker = found["roles"]["worker"]
    assert (worker["runs"], worker["tokens"]["total"], worker["cost_usd"], worker["unpriced"]) == (
        2,
        135,
        0.5,
        1,
    )
    assert worker["agent_seconds"] == pytest.approx(one["agent_seconds"] + two["agent_seconds"], abs=0.01)
    assert place.ask("workflows")["roles"]["worker"] == worker
    assert one["queued_at"] <= one["started_at"] <= one["ended_at"] <= two["ended_at"]
    assert "unpriced" in place.run("workflow-status", name).out
    assert place.ask("workflows", "--active")["count"] == 0
    assert place.ask("workflows", "--count", "1")["workflows"][0]["id"] == name


def test_P11_a_budget_stops_the_next_step(place: Place) -> None:
    place.start(WORKERS + TWO)
    args = ("--no-wait", "--workflow", "two", "--budget", "0.4")
    name = place.ask("ask", *args, "go\ndemo: cost 0.5")["workflow"]["id"]
    assert "spent" in wait_flow(place, name, "waiting")["reason"]
    assert place.wait_event("workflow_budget")  # at 80 %
    assert place.wait_event("workflow_waiting")
    place.ask("workflow", "resume", name, "--budget", "2")
    assert wait_flow(place, name, *DONE)["status"] == "done"


def test_P14_nobody_skips_permissions_unasked_and_any_program_will_do(place: Place) -> None:
    program = place.folder / "mine.sh"
    program.write_text('#!/bin/sh\necho "read: $(cat | tail -n 3 | head -n 1)"\n')
    program.chmod(0o755)
    place.start(
        WORKERS
        + f"""\
[runners.mine]
argv = ["{program}"]
[roles.mine]
runner = "mine"
[workers.mine]
role = "mine"
[workflows.look]
phases = [
    {{ name = "look", role = "reviewer", prompt = "{{{{task}}}}" }},
    {{ name = "mine", role = "mine", prompt = "{{{{task}}}}" }},
]
"""
    )
    done = place.ask(
        "ask", "--workflow", "look", "first\ndemo: write forbidden.txt x\ndemo: argv\nlast $(touch ran)"
    )
    assert done["result"]["text"].startswith("read: "), done
    assert not (place.folder / "forbidden.txt").exists()
    assert not (place.folder / "ran").exists()
    shown = next(
        Path(os.environ["PANEVIEW_HOME"]).glob(f"*/runs/{done['result']['id']}-0-1/shown.log")
    ).read_text()
    assert "skip-permissions" not in shown
    assert "bypassPermissions" not in shown
