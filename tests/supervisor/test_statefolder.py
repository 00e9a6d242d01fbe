"""Removing a running supervisor's folder loses what was recorded there, but no task."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from paneview.config import paths
from paneview.control.blocking import Connection
from paneview.control.errors import ControlError, NoSupervisor
from paneview.supervisor.process import statefolder
from tests.harness import alive, wait_until
from tests.supervisor.project import Project

TASKS = """
    [tasks.web]
    command = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.1; done"
    [tasks.quiet]
    command = "read word; echo $word; exec sleep 600"
    [tasks.job]
    command = "until test -e go; do sleep 0.1; done; exit 3"
    restart_policy = "no"
    [tasks.resting]
    command = "exec sleep 600"
    auto_start = false
"""
NAMES = ("web", "quiet", "job")


@pytest.fixture
def one(project: Callable[[str], Project]) -> Project:
    found = project(TASKS).serve()
    for name in NAMES:
        found.wait(name, "running")
    return found


def pids(project: Project) -> dict[str, int]:
    return {name: project.task(name)["pid"] for name in NAMES}


def numbers(project: Project) -> list[int]:
    return [int(text.split()[1]) for text in project.lines("web")]


def test_a_socket_that_was_removed_is_made_again(one: Project) -> None:
    socket = paths.control_socket(one.state_dir)
    with Connection(str(socket), timeout=20) as client:
        client.call("status")
        socket.unlink()
        wait_until(socket.exists)
        assert client.call("status")["running"]
    assert oct(socket.stat().st_mode)[-3:] == "600"
    assert one.process
    assert one.call("hello")["pid"] == one.process.pid


def test_without_its_folder_another_takes_its_place_and_the_tasks_go_on(one: Project) -> None:
    before, folder = pids(one), one.state_dir
    with Connection(str(paths.control_socket(folder)), timeout=20) as client:
        client.call("subscribe", {"topics": ["events"]})
        shutil.rmtree(folder)
        assert [push["reason"] for push in client.pushes() if push["push"] == "bye"] == [statefolder.REMOVED]
    wait_until(one._answers)
    assert pids(one) == before
    assert one.task("resting")["state"] == "idle"
    assert {event["cause"] for event in one.events("task_started")} == {
        "it was found running, and nothing was recorded of it"
    }
    # Output from now on is stored, and the exit of a task is known.
    wait_until(lambda: len(numbers(one)) > 8)
    first, *others = numbers(one)
    assert others == list(range(first + 1, first + 1 + len(others)))
    one.call("send_keys", task="quiet", keys=[*"word", "Enter"])
    wait_until(lambda: "word" in one.lines("quiet"))
    assert {event["task"] for event in one.events("log_gap")} == {"web"}
    (one.folder / "go").touch()
    assert one.wait("job", "failed")["exit_code"] == 3
    one.call("down")
    assert one.process
    assert one.process.wait(20) == 0
    assert not any(alive(pid) for pid in before.values())


def test_without_a_part_of_it_another_takes_its_place_too(one: Project) -> None:
    one.call("stop", tasks=["quiet"])
    for part in ("logs.db", "spool", "exits", "state.db"):
        before = one.task("web")["pid"]
        started = one.events("supervisor_started")
        for path in one.state_dir.glob(f"{part}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        wait_until(lambda ts=started[-1]["ts"]: has_begun_anew(one, ts))  # type: ignore[misc]
        assert one.task("web")["pid"] == before, part
        assert (one.task("quiet")["state"] == "stopped") == (part != "state.db"), part
        one.call("restart", tasks=["web"])
        assert one.wait("web", "running")["pid"] != before, part
        lines = len(one.lines("web"))
        wait_until(lambda lines=lines: len(one.lines("web")) > lines + 5)  # type: ignore[misc]


def has_begun_anew(project: Project, before: float) -> bool:
    """Whether another supervisor has started since then."""
    try:
        events = project.events("supervisor_started")
    except (ControlError, NoSupervisor):
        return False
    return bool(events) and events[-1]["ts"] > before


def test_a_record_that_was_lost_costs_no_task(one: Project) -> None:
    before = pids(one)
    one.kill_supervisor()
    (one.state_dir / "state.db").write_bytes(os.urandom(5000))
    one.serve()
    assert pids(one) == before
    assert one.events("store_damaged")
    end_of_log = len(numbers(one))
    wait_until(lambda: len(numbers(one)) > end_of_log + 8)
    seen = numbers(one)
    assert seen == list(range(1, len(seen) + 1))
    assert not one.events("log_gap")
