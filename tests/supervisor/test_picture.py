"""What clients see of a run that has just begun: its own usage, and its pid as soon as there is one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from paneview.config.load import load_project
from paneview.config.secrets import Masker
from paneview.proc import ProcessId, identify
from paneview.rules.states import TaskPhase
from paneview.supervisor.clients import picture as pictures
from paneview.supervisor.clients.picture import Picture
from paneview.supervisor.clients.views import definition_view
from paneview.supervisor.clock import Clock
from paneview.supervisor.runs.live import Live
from paneview.supervisor.tasks.supervisor import Supervisor
from tests.harness import eventually, wait_until

# Like the guard of a pane: the command is two processes below it. It starts at a line on standard input.
GUARD = ["sh", "-c", "read go; sh -c 'sleep 1000; true'; true"]


class Onlookers:
    """An audience that keeps the latest object pushed for each task."""

    def __init__(self) -> None:
        self.looking = 1
        self.shown: dict[str, Any] = {}

    def subscribers(self, topic: str) -> int:
        return self.looking if topic == "state" else 0

    def publish_tasks(self, tasks: Iterable[Mapping[str, Any]]) -> None:
        self.shown.update({task["name"]: task for task in tasks})

    def publish_heads(self, heads: Mapping[str, int]) -> None:
        raise NotImplementedError


class Run:
    """A run whose command has not started yet."""

    def __init__(self, number: int) -> None:
        self.guard = subprocess.Popen(GUARD, stdin=subprocess.PIPE)
        root = identify(self.guard.pid)
        self.live = Live(number, "%1", "@1", root, "", Path("exit"), Path("spool"))
        self._process = psutil.Process(self.guard.pid)

    def go(self) -> int:
        """Start the command; returns its pid."""
        assert self.guard.stdin
        self.guard.stdin.write(b"go\n")
        self.guard.stdin.flush()
        return wait_until(self._command)

    def _command(self) -> int | None:
        found = self._process.children(recursive=True)
        return found[1].pid if len(found) == 2 and found[1].name() == "sleep" else None

    def end(self) -> None:
        with suppress(psutil.NoSuchProcess):
            for child in self._process.children(recursive=True):
                child.kill()
        self.guard.kill()
        self.guard.communicate()


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    made = [Run(1), Run(2)]
    yield made
    for one in made:
        one.end()


@asynccontextmanager
async def shown(tmp_path: Path, run: Run) -> AsyncIterator[tuple[Supervisor, Picture, Onlookers]]:
    """A task with this run, and an audience that has seen its pid."""
    file = tmp_path / "paneview.toml"
    file.write_text('[tasks.web]\ncommand = "sleep 1000; true"\n')
    nobody: Any = None
    supervisor = Supervisor(load_project(file, {}), nobody)
    supervisor.load({})
    audience: Any = Onlookers()
    picture = Picture(supervisor, nobody, Clock(), nobody, audience, Masker((), ()), {})
    begin(supervisor, run)
    pid = run.go()
    sampling = asyncio.create_task(picture.keep_sampling())
    try:
        picture.changed("web")
        await eventually(lambda: "web" in audience.shown and audience.shown["web"]["rss_bytes"] is not None)
        assert audience.shown["web"]["pid"] == pid
        yield supervisor, picture, audience
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)


def begin(supervisor: Supervisor, run: Run) -> None:
    unit = supervisor.units["web"]
    unit.live = run.live
    unit.state = replace(unit.state, phase=TaskPhase.RUNNING, run=run.live.run)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAMPLE_EVERY", "SAMPLE_AT_REST", "REMEMBER_EVERY"):
        monkeypatch.setattr(pictures, name, 0.2)
    # The memory of shells differs by some pages from run to run: ignore that.
    monkeypatch.setattr(pictures, "SEEN_BYTES", 1 << 30)


async def test_a_run_that_was_shown_before_its_command_began_is_shown_again_with_its_pid(
    tmp_path: Path, runs: list[Run]
) -> None:
    async with shown(tmp_path, runs[0]) as (supervisor, picture, audience):
        begin(supervisor, runs[1])
        picture.changed("web")
        await asyncio.sleep(0)
        assert (audience.shown["web"]["run"], audience.shown["web"]["pid"]) == (2, None)
        assert audience.shown["web"]["rss_bytes"] is None, "that was the run before"
        pid = runs[1].go()  # before the next sample
        await eventually(lambda: audience.shown["web"]["pid"] == pid)


async def test_who_begins_to_look_before_a_command_has_begun_is_shown_its_pid_later(
    tmp_path: Path, runs: list[Run]
) -> None:
    async with shown(tmp_path, runs[0]) as (supervisor, picture, audience):
        audience.looking = 0
        begin(supervisor, runs[1])
        picture.changed("web")  # nobody is told
        audience.looking = 1
        (task,) = picture.status()["tasks"]
        assert (task["run"], task["pid"]) == (2, None)
        pid = runs[1].go()
        await eventually(lambda: audience.shown["web"]["pid"] == pid)


async def test_who_asks_for_the_status_meanwhile_takes_the_pid_from_nobody(
    tmp_path: Path, runs: list[Run]
) -> None:
    async with shown(tmp_path, runs[0]) as (supervisor, picture, audience):
        audience.looking = 0
        begin(supervisor, runs[1])
        picture.changed("web")  # nobody is told
        audience.looking = 1
        assert picture.status()["tasks"][0]["pid"] is None
        pid = runs[1].go()
        assert picture.status()["tasks"][0]["pid"] == pid
        await eventually(lambda: audience.shown["web"]["pid"] == pid)


async def test_what_has_left_a_run_s_tree_stays_known_until_it_has_ended(
    tmp_path: Path, runs: list[Run]
) -> None:
    live = runs[0].live
    outside = runs[1].live.root
    ended = ProcessId(os.getpid(), 1)  # an earlier process of our pid
    assert outside
    live.known |= {outside, ended}
    async with shown(tmp_path, runs[0]):
        await eventually(lambda: live.root in live.known)
        assert outside in live.known
        assert ended not in live.known


def test_a_definition_has_what_only_workers_have_among_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "paneview.toml"
    file.write_text('[tasks.web]\ncommand = "true"\n[workers.cook]\nrole = ["a", "b"]\n')
    tasks = load_project(file, {}).tasks
    web, cook = (definition_view(tasks[name]) for name in ("web", "cook"))
    assert web.keys() == cook.keys()
    own = ("roles", "respawn_limit", "respawn_window")
    assert [cook[name] for name in own] == [("a", "b"), 5, 300.0]
    assert [web[name] for name in own] == [None] * 3
    assert "written" not in web


async def test_times_are_shown_by_the_clock_on_the_wall_whatever_that_was_set_to_meanwhile(
    tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(tmp_path, runs[0]) as (supervisor, picture, audience):
        unit, began = supervisor.units["web"], time.time()
        unit.state = replace(unit.state, started_at=began)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 7200)
        # Even when everything is at rest.
        await eventually(lambda: audience.shown["web"]["started_at"] == began - 7200)
        assert 0 <= picture.status()["tasks"][0]["uptime_s"] < 60
        unit.state = replace(unit.state, phase=TaskPhase.BACKOFF, due=began + 50)
        assert picture.status()["tasks"][0]["next_start_at"] == began + 50 - 7200
