"""The commands of workflows, as typed by a user: real supervisor, real workers, real tmux."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from paneview.agents.folder import SHIM, make, write_json
from paneview.cli.shapes import SHAPES, Failure
from paneview.cli.workflow.ask import phase_line
from paneview.proc import boot_id, identify
from tests.cli.support import apart, check_shape, run, supervise
from tests.harness import alive, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Sandbox

pytestmark = pytest.mark.timeout(120)

HANDLERS = """
import pathlib, time
from paneview.worker import handler
from paneview.agents.model import RunOutcome, RunStatus, Tokens

@handler("phase")
def phase(command):
    asked = command.payload
    if "slow" in asked["prompt"] and not command.wait(60):
        raise RuntimeError("nobody ended it")
    if command.cancelled:
        return RunOutcome(RunStatus.CANCELLED).to_json()
    pathlib.Path(asked["cwd"], asked["phase"] + ".txt").write_text("x\\n" * 3)
    said = f"did {asked['phase']}"
    return RunOutcome(RunStatus.OK, said, session="s", tokens=Tokens(10, 2, 0), cost_usd=0.1).to_json()
"""
FILE = """
name = "flows"
[workers.w]
role = ["worker", "reviewer"]
handlers = ["my_agents"]
[workflows.two]
phases = [
    { name = "one", role = "reviewer", prompt = "{{task}}" },
    { name = "two", role = "worker", prompt = "{{one.text}}", approve = "always" },
]
[workflows.dear]
budget_tokens = 5
phases = [
    { name = "one", role = "worker", prompt = "{{task}}" },
    { name = "two", role = "worker", prompt = "{{task}}" },
]
[workflows.held]
phases = [{ name = "two", role = "worker", prompt = "{{task}}", approve = "always" }]
[runners.demo]
stall_timeout = 0
[workflows.hangs]
phases = [{ name = "one", role = "planner", prompt = "{{task}}" }]
[workflows.quick]
description = "one step"
phases = [{ name = "one", role = "worker", prompt = "{{task}}" }]
"""


@pytest.fixture
def live(project: Path) -> Iterator[Path]:
    (project / "paneview.toml").write_text(FILE)
    (project / "my_agents.py").write_text(HANDLERS)
    yield project
    run("workflow-teardown", cwd=project)
    run("down", cwd=project)


@pytest.fixture
def working(live: Path) -> Path:
    """The project with a supervisor, forked, and its worker."""
    supervise(live)
    assert run("start", cwd=live).status == 0
    return live


def ask(project: Path, *args: str, status: int = 0) -> dict[str, Any]:
    """Run a command with --json and check its exit status and its shape."""
    done = run(*args, "--json", cwd=project)
    assert done.status == status, done.out + done.err
    check_shape(SHAPES[args[0]] if status == 0 else Failure, done.json)
    return done.json


def is_now(project: Path, name: str, status: str) -> bool:
    return bool(ask(project, "workflow", "status", name)["workflow"]["status"] == status)


def test_a_workflow_from_asking_to_its_result(working: Path) -> None:
    begun = ask(working, "ask", "--workflow", "two", "--budget", "5", "make", "it", "so", "--no-wait")[
        "workflow"
    ]
    name = begun["id"]
    assert (begun["task"], begun["budget_usd"]) == ("make it so", 5.0)
    wait_until(lambda: is_now(working, name, "waiting"))
    listed = ask(working, "workflows", "--active", "--count", "5")
    assert (listed["active"], listed["waiting"], listed["workflows"][0]["id"]) == (1, 1, name)
    assert ask(working, "workflow", "result", name, status=1)["code"] == "pending"
    assert ask(working, "workflow", "approve", name, "two")["workflow"]["status"] == "running"
    wait_until(lambda: is_now(working, name, "done"))
    brought = ask(working, "workflow", "result", name)["result"]
    assert (brought["text"], brought["cost_usd"]) == ("did two", pytest.approx(0.2))
    assert ask(working, "workflow", "approve", name, status=1)["code"] == "state"
    shown = run("workflow-status", name, cwd=working).out
    assert "✓ one" in shown
    assert "$0.20" in shown
    kinds = {event["event"] for event in ask(working, "events")["events"]}
    assert {"workflow_started", "workflow_waiting", "workflow_done"} <= kinds
    again = ask(working, "workflow", "retry", name, "--from", "one")["workflow"]
    assert again["phases"][0]["attempt"] == 2


def test_where_to_work_by_either_name(working: Path) -> None:
    (working / "part").mkdir()
    for option in ("--working-dir", "--directory", "-d"):
        begun = ask(working, "ask", "--workflow", "two", "--no-wait", option, "part", "x")["workflow"]
        whole = ask(working, "workflow", "status", begun["id"])["workflow"]
        assert str(working / "part") in str(whole), option
        ask(working, "workflow", "cancel", begun["id"])


def test_waiting_shows_each_phase_and_prints_the_result(live: Path) -> None:
    done = apart("ask", "-v", "--workflow", "quick", "go", cwd=live)
    assert (done.status, done.out) == (0, "did one\n"), done.err
    assert "no worker" not in done.err  # one is about to start
    assert "✓ one" in done.err
    stuck = run("ask", "--workflow", "held", "--timeout", "800ms", "go", cwd=live)
    assert re.search(
        r"^waits for you: two: .*'paneview workflow approve held-\w+' or reject$", stuck.err, re.M
    )
    assert re.search(r"over after 0.8 s: waiting for you: two: .*\n  'paneview workflow approve ", stuck.err)
    late = ask(live, "ask", "--workflow", "quick", "--timeout", "500ms", "slow one", status=1)
    assert (late["code"], late["state"]) == ("pending", "running")
    assert ask(live, "workflow", "cancel", late["id"], "--why", "too slow")["workflow"]["id"] == late["id"]
    wait_until(lambda: is_now(live, late["id"], "cancelled"))
    assert ask(live, "workflow", "result", late["id"], status=1)["error"] == "too slow"


def test_one_line_is_no_lines() -> None:
    phase = {
        "status": "done",
        "name": "work",
        "runs": 1,
        "ended_at": None,
        "tokens": {"total": 0},
        "reason": "",
    }
    assert phase_line({**phase, "lines": 1, "files": 1}, colour=False).endswith("  1 line in 1 file")
    assert phase_line({**phase, "lines": 2, "files": 2}, colour=False).endswith("  2 lines in 2 files")


def test_without_a_supervisor_it_can_be_read_and_changed(working: Path) -> None:
    name = ask(working, "ask", "--workflow", "two", "x", "--no-wait")["workflow"]["id"]
    wait_until(lambda: is_now(working, name, "waiting"))
    run("down", cwd=working)
    assert ask(working, "workflows")["workflows"][0]["status"] == "waiting"
    for words in (("workflows",), ("workflow-status", name)):
        assert "no supervisor is running" in run(*words, cwd=working).err
    rejected = ask(working, "workflow", "reject", name, "--why", "no")["workflow"]
    assert rejected["status"] == "failed"
    assert rejected["phases"][1]["reason"].endswith(": no")
    again = ask(working, "workflow", "reject", name, status=1)
    assert (again["code"], again["error"].endswith(": nothing in it is waiting")) == ("state", True)
    assert run("workflows", cwd=working).err == ""  # it is over
    assert run("workflow", "result", name, cwd=working).status == 1
    ask(working, "workflow", "retry", name)
    approved = run("workflow", "approve", name, cwd=working)
    assert approved.err.endswith("goes on with the next ('paneview start')\n")


def test_a_spent_budget_of_tokens_is_raised(working: Path) -> None:
    name = ask(working, "ask", "--workflow", "dear", "x", "--no-wait")["workflow"]["id"]
    wait_until(lambda: is_now(working, name, "waiting"))
    assert "larger budget" in ask(working, "workflow", "approve", name, status=1)["error"]
    assert "larger budget" in ask(working, "workflow", "resume", name, status=1)["error"]
    told = apart("ask", "-v", "--workflow", "dear", "x", "--timeout", "1", cwd=working).err
    assert "workflow resume dear-" in told
    assert " --tokens N' or cancel" in told
    ask(working, "workflow", "resume", name, "--tokens", "1000")
    wait_until(lambda: is_now(working, name, "done"))


def test_a_phase_that_nobody_takes_is_told(working: Path) -> None:
    begun = ask(working, "ask", "--workflow", "quick", "x", "--no-wait")
    assert begun["without_worker"] == []
    wait_until(lambda: is_now(working, begun["workflow"]["id"], "done"))
    ask(working, "stop", "w")
    begun = ask(working, "ask", "--workflow", "quick", "x", "--no-wait")
    assert begun["without_worker"] == ["worker"]
    name = begun["workflow"]["id"]
    assert "no worker is alive for worker" in run("workflow", "status", name, cwd=working).out
    ask(working, "start", "w")
    wait_until(lambda: is_now(working, name, "done"))


def test_what_cannot_be(live: Path) -> None:
    supervise(live)
    assert ask(live, "ask", " ", status=2)["error"] == "there is nothing to do: the text is empty"
    assert "two" in ask(live, "ask", "x", "--workflow", "none", "--no-wait", status=1)["error"]
    assert ask(live, "workflow", "status", "none-1", status=1)["code"] in ("not_found", "queue")
    assert "no command" in ask(live, "workflow", "nonsense", status=2)["error"]
    for amount in ("-1", "nan", "inf", "1e999"):
        for words in (("ask", "x"), ("workflow", "resume", "none-1")):
            assert "above 0" in ask(live, *words, "--budget", amount, status=2)["error"]


def test_eject_writes_files_that_can_be_changed(live: Path) -> None:
    ejected = ask(live, "workflow", "eject")
    assert all(Path(name).exists() for name in ejected["written"])
    assert 'prompt_file = "workflows/default/work.md"' in (live / "paneview.toml").read_text()
    assert run("check", cwd=live).status == 0
    assert "already" in ask(live, "workflow", "eject", status=2)["error"]


def test_eject_writes_everything_or_nothing_and_keeps_a_link(project: Path) -> None:
    (project / "paneview.toml").unlink()
    (project / "paneview.toml").symlink_to("real.toml")
    (project / "real.toml").write_text(
        'workflows = {quick = {phases = [{name = "a", role = "r", prompt = "x"}]}}'
    )
    prompts = project / "workflows" / "default"
    assert "defined twice" in ask(project, "workflow", "eject", status=2)["error"]
    assert not list(prompts.iterdir())
    (project / "real.toml").write_text("# nothing")
    (prompts / "work.md").write_text("mine")
    assert f"{prompts / 'work.md'} exists already" in ask(project, "workflow", "eject", status=1)["error"]
    assert [(one.name, one.read_text()) for one in prompts.iterdir()] == [("work.md", "mine")]
    (prompts / "work.md").unlink()
    ask(project, "workflow", "eject")
    assert (project / "paneview.toml").is_symlink()
    assert (project / "real.toml").read_text().startswith("# nothing\n\n# What")


def test_setup_opens_five_panes_and_teardown_ends_them(live: Path, sandbox: Sandbox) -> None:
    made = apart("workflow-setup", "--no-attach", "--json", cwd=live).json
    assert [pane["title"] for pane in made["panes"]] == [
        "orchestrator", "planner", "reviewer", "worker", "compounder",
    ]  # fmt: skip
    roles = {"planner", "reviewer", "worker", "compounder"}
    wait_until(
        lambda: (
            roles
            <= {
                role
                for one in ask(live, "workers")["workers"]
                for role in one["roles"]
                if "workflow" in one["name"]
            }
        ),
        20,
    )
    assert not ask(live, "workflow-setup", "--no-attach")["created"]
    assert "=flows-workflow" not in sandbox.tmux("list-sessions")
    name = ask(live, "ask", "--workflow", "hangs", "demo: hang", "--no-wait")["workflow"]["id"]
    (note,) = wait_until(lambda: list(sandbox.home.glob(f"*/runs/{name}-0-1/shim.json")))
    agent = json.loads(note.read_text())["agent"][0]
    assert alive(agent)
    with _other_stray(note.parent.parent / "other-0-1") as other:
        assert ask(live, "workflow-teardown")["session"] == "flows-workflow"
        assert not alive(agent)
        assert alive(other)
    assert not any(alive(pane["pid"]) for pane in made["panes"])
    assert not is_now(live, name, "failed")
    assert ask(live, "workflow-teardown", status=1)["code"] == "not_found"


@contextmanager
def _other_stray(folder: Path) -> Iterator[int]:
    """The state after a supervised worker has just died: its agent waits for the next one."""
    with subprocess.Popen(["sleep", "60"]) as shim:
        note = {"pid": shim.pid, "start": identify(shim.pid)[1], "boot": boot_id()}  # type: ignore[index]
        write_json(make(folder) / SHIM, note)
        try:
            yield shim.pid
        finally:
            shim.kill()


def test_asking_outlives_the_supervisor(working: Path) -> None:
    name = ask(working, "ask", "--workflow", "quick", "slow", "--no-wait")["workflow"]["id"]
    wait_until(lambda: is_now(working, name, "running"))
    pid = ask(working, "status")["supervisor"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    supervise(working)
    assert ask(working, "workflow", "status", name)["workflow"]["status"] == "running"
    ask(working, "workflow", "cancel", name)
    wait_until(lambda: is_now(working, name, "cancelled"))
