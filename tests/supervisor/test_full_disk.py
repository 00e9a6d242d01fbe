"""While nothing can be written: runs can be ended, no client waits in vain, and what waited goes on by itself.

Instead of filling the disk, the tests forbid the supervisor to extend any file: writes fail in the same way.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from paneview.control.errors import ControlError
from tests.harness import Sandbox, alive, eventually, wait_until
from tests.supervisor.inprocess import supervising
from tests.supervisor.project import Project

TWO = """
    [tasks.web]
    command = "exec sleep 611"
    [tasks.api]
    command = "exec sleep 612"
    [tasks.later]
    command = "exec sleep 613"
    auto_start = false
"""


@contextmanager
def no_room(project: Project) -> Iterator[None]:
    """Within the block, the supervisor can extend no file."""
    assert project.process
    supervisor = psutil.Process(project.process.pid)
    supervisor.rlimit(psutil.RLIMIT_FSIZE, (1, psutil.RLIM_INFINITY))
    try:
        yield
    finally:
        if supervisor.is_running():
            supervisor.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))


@pytest.fixture
def two(project: Callable[[str], Project]) -> Project:
    one = project(TWO).serve()
    for name in ("web", "api"):
        one.wait(name, "running")
    one.call("events")  # what has happened so far is on disk
    return one


def kinds(project: Project) -> list[str]:
    return [event["event"] for event in project.call("events")["events"]]


def test_what_runs_can_be_ended_and_it_is_told_that_this_is_not_recorded(two: Project) -> None:
    web, api = two.task("web")["pid"], two.task("api")["pid"]
    with no_room(two):
        for do, pid, name, by in (("kill", web, "web", 9), ("stop", api, "api", 2)):
            reply = two.call(do, tasks=[name])
            assert "state.db" in reply["unrecorded"]
            assert not alive(pid)
            seen = two.call("inspect", task=name)  # its run agrees, though the row is not on disk
            assert [seen["exit_code"], seen["runs"][0]["signal"]] == [128 + by, by]
            assert "unrecorded" not in two.call("capture", task=name)
        assert {two.task(name)["state"] for name in ("web", "api")} == {"stopped"}
    wait_until(lambda: "store_restored" in kinds(two))
    assert {"store_failed", "task_killed", "task_stopped"} <= set(kinds(two))
    assert "unrecorded" not in two.call("stop", tasks=["web"])


def test_a_start_waits_for_room_and_neither_who_asked_nor_the_end_of_the_project_does(two: Project) -> None:
    with no_room(two):
        with pytest.raises(ControlError, match="nothing starts while that cannot be recorded") as error:
            two.call("start", tasks=["later"])
        assert error.value.code == "store"
        with pytest.raises(ControlError, match=r"logs\.db|state\.db"):
            two.call("restart", tasks=["web"])
        assert two.task("later")["pid"] is None
    two.wait("later", "running")
    two.wait("web", "running")
    two.call("events")  # what has happened so far is on disk

    web = two.task("web")["pid"]
    assert two.process
    two.call("stop", tasks=["later"])
    with no_room(two):
        with pytest.raises(ControlError, match="nothing starts while that cannot be recorded"):
            two.call("start", tasks=["later"])
        two.call("stop", tasks=["later"])
        assert two.task("later")["state"] == "stopped"
        with pytest.raises(ControlError, match="nothing starts while that cannot be recorded"):
            two.call("start", tasks=["later"])
        two.call("down")
        two.process.wait(20)
    assert not alive(web)


async def test_that_storing_works_again_is_told_when_both_databases_do(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with supervising(sandbox, "") as host:
        told: list[str] = []
        monkeypatch.setattr(host.journal, "_tell", lambda row: told.append(row.kind))
        with monkeypatch.context() as state, monkeypatch.context() as logs:
            state.setattr(host.store._writer, "write", fails)
            logs.setattr(host.ingest._engine, "mend", fails)
            host.ingest._wake()
            await eventually(lambda: told.count("store_failed") == 2)
            state.undo()
            await eventually(lambda: not host.store.trouble)
            await asyncio.sleep(0)  # what it has to tell is told in the loop's next turn
            assert "store_restored" not in told
        await eventually(lambda: "store_restored" in told)
        assert told.count("store_restored") == 1
