"""The loop that follows schedules. `rules.schedule` decides what it does and when, and is tested by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from paneview.config.load import load_project
from paneview.config.secrets import Masker
from paneview.rules.states import TaskPhase, TaskState
from paneview.store.state import StateStore
from paneview.supervisor.clock import Clock
from paneview.supervisor.journal import Journal
from paneview.supervisor.tasks import scheduling
from paneview.supervisor.tasks.scheduling import Schedules
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.tasks.unit import Services
from tests.harness import eventually

# Tasks that are started wait for db, which a person keeps stopped: so the tests need no process.
PROJECT = """
[tasks.db]
command = "true"

[tasks.cache]
command = "true"
depends_on = ["db"]

[tasks.nightly]
command = "true"
schedule = "* * * * *"
depends_on = ["cache"]

[tasks.odd]
command = "true"
schedule = "@daily"
depends_on = ["db"]
"""
SOON = 0.05  # seconds


class Place:
    """A supervisor's units, and the events about them."""

    def __init__(self, folder: Path, store: StateStore) -> None:
        file = folder / "paneview.toml"
        file.write_text(PROJECT)
        clock, nobody = Clock(), None
        self.events: list[dict[str, Any]] = []
        audience: Any = SimpleNamespace(publish_event=self.events.append)
        self.journal = Journal(store, clock, "shop", (1, 1), audience, Masker((), ()))
        services = Services(clock, self.journal, *[nobody] * 6)
        self.supervisor = Supervisor(load_project(file, {}), services)
        self.supervisor.load({"db": TaskState(TaskPhase.STOPPED, manual_stop=True)})

    def phase(self, task: str) -> TaskPhase:
        return self.supervisor.units[task].state.phase

    def told(self, kind: str) -> list[str]:
        return [event["task"] for event in self.events if event["event"] == kind]


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    store = await StateStore.open(tmp_path / "state.db")
    made = Place(tmp_path, store)
    yield made
    await made.supervisor.close()
    await store.close()


@contextmanager
def running(schedules: Schedules) -> Iterator[None]:
    loop = asyncio.create_task(schedules.run())
    try:
        yield
    finally:
        loop.cancel()


async def test_what_the_file_has_gained_is_not_slept_through(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "next_time", lambda _expression, after: after + SOON)
    here = place.supervisor
    supervisor: Any = SimpleNamespace(
        units={}, going_down=False, changed=here.changed, brought_along=here.brought_along
    )
    schedules = Schedules(supervisor, place.journal)
    with running(schedules):
        await asyncio.sleep(0)  # now it sleeps, as long as it ever does
        supervisor.units |= {name: here.units[name] for name in ("nightly", "cache")}
        schedules.changed()
        assert "nightly" in schedules.next, "from this moment on, not from when the loop gets to it"
        await eventually(lambda: place.phase("nightly") is TaskPhase.WAITING)
        await eventually(lambda: place.told("schedule_skipped"))
    assert place.phase("odd") is TaskPhase.IDLE


async def test_what_a_task_depends_on_is_started_along_unless_a_person_keeps_it_stopped(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "next_time", lambda _expression, after: after + SOON)
    with running(Schedules(place.supervisor, place.journal)):
        await eventually(lambda: place.phase("nightly") is TaskPhase.WAITING)
    assert (place.phase("cache"), place.phase("db")) == (TaskPhase.WAITING, TaskPhase.STOPPED)


async def test_a_time_that_cannot_be_worked_out_is_told_once_and_holds_up_nobody(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = True

    def next_time(expression: str, after: float) -> float:
        if broken and expression == "@daily":
            raise OverflowError("date value out of range")
        return after + SOON

    monkeypatch.setattr(scheduling, "next_time", next_time)
    schedules = Schedules(place.supervisor, place.journal)
    with running(schedules):
        await eventually(lambda: len(place.told("schedule_skipped")) >= 2)
        assert (place.phase("nightly"), place.phase("odd")) == (TaskPhase.WAITING, TaskPhase.IDLE)
        assert schedules.next.keys() == {"nightly"}
        broken = False
        await eventually(lambda: place.phase("odd") is TaskPhase.WAITING)
    assert place.told("internal_error") == ["odd"]


async def test_nothing_starts_while_the_project_goes_down(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "next_time", lambda _expression, after: after + SOON)
    here = place.supervisor
    supervisor: Any = SimpleNamespace(
        units=here.units, going_down=True, changed=here.changed, brought_along=here.brought_along
    )
    schedules = Schedules(supervisor, place.journal)
    with running(schedules):
        await eventually(lambda: "nightly" in place.told("schedule_skipped"))
        assert place.phase("nightly") is TaskPhase.IDLE
        supervisor.going_down = False
        await eventually(lambda: place.phase("nightly") is TaskPhase.WAITING)


async def test_a_next_time_that_has_moved_is_shown_though_nothing_else_has_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "next_time", lambda _expression, after: after + SOON)
    schedules, shown = Schedules(place.supervisor, place.journal), set[float]()

    def show(name: str) -> None:
        shown.add(schedules.next[name])

    with running(schedules):
        await eventually(lambda: place.told("schedule_skipped"))
        place.supervisor.listeners.append(show)
        await eventually(lambda: len(shown) > 2)
    assert place.phase("nightly") is TaskPhase.WAITING


@pytest.mark.parametrize("turns", range(5))
async def test_it_ends_even_if_the_file_changes_at_that_moment(place: Place, turns: int) -> None:
    schedules = Schedules(place.supervisor, place.journal)
    loop = asyncio.create_task(schedules.run())
    await asyncio.sleep(0.01)  # now it sleeps
    schedules.changed()
    for _ in range(turns):
        await asyncio.sleep(0)
    loop.cancel()
    await asyncio.wait([loop], timeout=1)
    assert loop.cancelled()
