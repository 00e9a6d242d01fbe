"""What a supervisor reports about a task, and what a screen makes of it, with no invented objects in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paneview.config.load import load_project
from paneview.config.secrets import Masker
from paneview.control.model import TaskView
from paneview.proc import ProcessId
from paneview.rules.restart import Exit
from paneview.rules.states import Health, Stage, TaskPhase, TaskState
from paneview.supervisor.clients.picture import Picture
from paneview.supervisor.clock import Clock
from paneview.supervisor.runs.live import Live
from paneview.supervisor.runs.probing import Probes
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.tui import words
from paneview.tui.picture import Picture as Shown
from paneview.tui.tasks.why import why

NOW = 1_000_000.0
FILE = """
[tasks.db]
command = "postgres"
health_check = "pg_isready"
env = { PASSWORD = "hunter22" }
[tasks.prepare]
command = "make"
[tasks.api]
command = "api"
depends_on = ["db", { task = "prepare", condition = "completed" }]
[workers.reviewer]
role = "reviewer"
"""


class Stopped(Clock):
    def now(self) -> float:
        return NOW

    def wall(self) -> float:
        return NOW


def shown(tmp_path: Path, **states: dict[str, Any]) -> tuple[dict[str, Any], Shown]:
    """The task objects of a supervisor whose tasks are in these states, and a screen that has received them."""
    file = tmp_path / "paneview.toml"
    file.write_text(FILE)
    nobody: Any = None
    supervisor = Supervisor(load_project(file, {}), nobody)
    supervisor.load({})
    for name, facts in states.items():
        unit = supervisor.units[name]
        unit.probes = facts.pop("probes", unit.probes)
        unit.question = facts.pop("question", "")
        lost = facts.pop("lost", False)
        unit.state = TaskState(started_at=NOW - 5, **facts)
        if unit.state.phase in (TaskPhase.RUNNING, TaskPhase.STOPPING):
            unit.live = Live(
                1, "%1", "@1", ProcessId(1, 1), "", Path("exit"), Path("spool"), command=1, lost=lost
            )
    picture = Picture(supervisor, nobody, Stopped(), nobody, nobody, Masker((), ["hunter22"]), {})
    screen = Shown(lambda: NOW)
    objects = {task["name"]: task for task in picture.status()["tasks"]}
    screen.tasks = {name: TaskView.from_json(task) for name, task in objects.items()}
    return objects, screen


def failing(times: int) -> Probes:
    return Probes("refused by hunter22", times, NOW + 0.4)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({}, "has not been started yet."),
        ({"phase": TaskPhase.STARTING}, "is being started."),
        (
            {"phase": TaskPhase.RUNNING, "health": Health.STARTING, "probes": failing(3)},
            "runs for 5s but is not ready yet, its probe failed 3 times: refused by ********; next in 0.4 s.",
        ),
        (
            {"phase": TaskPhase.RUNNING, "health": Health.HEALTHY, "failures": 1, "probes": failing(1)},
            "runs for 5s and is healthy, its probe failed 1 time: refused by ********; next in 0.4 s.",
        ),
        (
            {
                "phase": TaskPhase.RUNNING,
                "health": Health.UNHEALTHY,
                "reason": "3 health checks failed in a row: refused",
            },
            "runs for 5s but is unhealthy: 3 health checks failed in a row: refused.",
        ),
        (
            {"phase": TaskPhase.RUNNING, "health": Health.HEALTHY, "question": "Password:"},
            "waits for your answer: “Password:”; i types it.",
        ),
        (
            {"phase": TaskPhase.STOPPING, "stage": Stage.TERMINATE, "reason": "restarted by file change"},
            "is being stopped: restarted by file change (terminate).",
        ),
        (
            {"phase": TaskPhase.STOPPED, "manual_stop": True, "reason": "killed by schedule"},
            "stays down until somebody starts it (s): killed by schedule.",
        ),
        (
            {"phase": TaskPhase.BACKOFF, "attempt": 2, "due": NOW + 3.4, "reason": "exit code 3", "exit": Exit(3)},
            "is started again in 3s (restart 2 of at most 5): exit code 3.",
        ),
        (
            {"phase": TaskPhase.FAILED, "attempt": 5, "reason": "exit code 3; gave up after 5 restarts"},
            "stays down: exit code 3; gave up after 5 restarts.",
        ),
        (
            {"phase": TaskPhase.DONE, "exit": Exit(0), "ended_at": NOW - 2},
            "is done: it ended with 0 after 3s.",
        ),
    ],
)  # fmt: skip
def test_why_a_task_is_as_it_is_is_said_once(tmp_path: Path, state: dict[str, Any], sentence: str) -> None:
    _, screen = shown(tmp_path, db=state)
    assert why(screen.tasks["db"], screen) == f"db {sentence}"


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (
            {"db": {"phase": TaskPhase.RUNNING, "health": Health.STARTING, "probes": failing(3)}},
            "waits: db is not ready (refused by ********), its probe failed 3 times, next in 0.4 s; prepare is not started.",  # noqa: E501
        ),
        (
            {"db": {"phase": TaskPhase.RUNNING, "ready": True}, "prepare": {"phase": TaskPhase.RUNNING, "ready": True}},
            "waits: prepare has not completed.",
        ),
        (
            {"db": {"phase": TaskPhase.BACKOFF, "due": NOW + 3.4}, "prepare": {"phase": TaskPhase.DONE}},
            "waits: db waits to be restarted in 3s.",
        ),
        (
            {"db": {"phase": TaskPhase.RUNNING, "ready": True}, "prepare": {"phase": TaskPhase.DONE}},
            "waits for its turn.",
        ),
        (
            {"db": {"phase": TaskPhase.RUNNING, "ready": True, "lost": True}, "prepare": {"phase": TaskPhase.DONE}},
            "waits: db has not been found again yet.",
        ),
    ],
)  # fmt: skip
def test_what_a_task_waits_for_is_what_holds_it_back(
    tmp_path: Path, states: dict[str, dict[str, Any]], sentence: str
) -> None:
    objects, screen = shown(tmp_path, api={"phase": TaskPhase.WAITING}, **states)
    assert why(screen.tasks["api"], screen) == f"api {sentence}"
    assert all(
        f"{one['task']} {one['why']}" in objects["api"]["reason"] for one in objects["api"]["waits_for"]
    )


def test_a_worker_is_quarantined_whatever_its_reason_says(tmp_path: Path) -> None:
    reason = "quarantined after 5 respawns in 300 s: exit code 3"
    _, screen = shown(
        tmp_path,
        reviewer={"phase": TaskPhase.FAILED, "quarantined": True, "reason": reason},
        db={"phase": TaskPhase.FAILED, "reason": "quarantined files were found"},
    )
    reviewer, db = screen.tasks["reviewer"], screen.tasks["db"]
    assert (words.condition(reviewer), words.condition(db)) == ("quarantined", "failed")
    assert why(reviewer, screen) == f"reviewer is kept from starting until somebody starts it (s): {reason}."


def test_who_stopped_a_task_is_told_only_of_one_that_is_stopped(tmp_path: Path) -> None:
    told = {"reason": "stopped by ann", "stopped_by": "user:ann"}
    objects, _ = shown(
        tmp_path,
        db={"phase": TaskPhase.STOPPED, **told},
        prepare={"phase": TaskPhase.FAILED, **told},
    )
    assert (objects["db"]["reason"], objects["db"]["stopped_by"]) == ("stopped by ann", "user:ann")
    assert objects["prepare"]["stopped_by"] is None


def test_a_supervisor_that_tells_no_cause_tells_a_reason(tmp_path: Path) -> None:
    objects, screen = shown(
        tmp_path, db={"phase": TaskPhase.FAILED, "reason": "exit code 3"}, api={"phase": TaskPhase.WAITING}
    )
    old = [{**task, "cause": None, "waits_for": None, "quarantined": None} for task in objects.values()]
    screen.tasks = {task["name"]: TaskView.from_json(task) for task in old}
    assert why(screen.tasks["db"], screen) == "db stays down: exit code 3."
    assert objects["api"]["reason"] in why(screen.tasks["api"], screen)
