"""Schedules over virtual time: one run at each time, none beside another, none after a manual stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from paneview.rules.states import Phase, Start, TaskState
from paneview.supervisor import scheduling
from paneview.supervisor.scheduling import Schedules
from tests.harness import eventually

MINUTE = 60.0


@dataclass
class Task:
    name: str = "nightly"
    schedule: str | None = "* * * * *"


@dataclass
class Unit:
    """As much of a unit as a schedule sees."""

    task: Task = field(default_factory=Task)
    state: TaskState = field(default_factory=TaskState)
    fed: list[Any] = field(default_factory=list)
    name: str = "nightly"

    def feed(self, event: Any) -> None:
        self.fed.append(event)


class Notes:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def note_task(self, task: str, run: int | None, kind: str, cause: str = "", **detail: Any) -> None:
        self.kinds.append(kind)


def test_one_run_at_each_time_and_no_overlap():
    unit, notes = Unit(), Notes()
    schedules = Schedules(lambda: [unit], notes)  # type: ignore[list-item,return-value,arg-type]
    now = 1_800_000_000.0
    for _ in range(3):
        schedules._arm(now)
        due = schedules.next["nightly"]
        assert now < due <= now + MINUTE
        schedules._fire(due - 0.001)
        schedules._fire(due)
        now = due
    assert unit.fed == [Start("schedule")] * 3
    unit.state = TaskState(phase=Phase.RUNNING, run=1)
    schedules._arm(now)
    schedules._fire(schedules.next["nightly"])
    assert len(unit.fed) == 3
    assert notes.kinds == ["schedule_skipped"]
    unit.state = TaskState(phase=Phase.STOPPED, manual_stop=True)
    schedules._arm(now + MINUTE)
    schedules._fire(schedules.next["nightly"])
    assert len(unit.fed) == 3


def test_a_time_that_has_passed_is_never_armed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduling, "next_time", lambda _expression, after: after - 1800)
    unit = Unit()
    schedules = Schedules(lambda: [unit], Notes())  # type: ignore[list-item,return-value,arg-type]
    schedules._arm(1_800_000_000.0)
    schedules._fire(1_800_000_000.0)
    assert not schedules.next
    assert not unit.fed


async def test_what_the_file_has_gained_is_not_slept_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scheduling, "next_time", lambda _expression, after: after + 0.05)
    units: list[Unit] = []
    schedules = Schedules(lambda: units, Notes())  # type: ignore[return-value,arg-type]
    running = asyncio.create_task(schedules.run())
    try:
        await asyncio.sleep(0)  # it sleeps now, for as long as it ever does
        units.append(Unit())
        schedules.changed()
        assert "nightly" in schedules.next, "from this moment on, not from when the loop gets to it"
        await eventually(lambda: len(units[0].fed) >= 2, deadline=5)
    finally:
        running.cancel()


def test_a_schedule_that_was_taken_out_of_the_file_is_forgotten():
    unit = Unit()
    schedules = Schedules(lambda: [unit], Notes())  # type: ignore[list-item,return-value,arg-type]
    schedules._arm(1_800_000_000.0)
    assert schedules.next
    unit.task.schedule = None
    schedules._arm(1_800_000_001.0)
    assert not schedules.next


def test_no_run_while_the_project_goes_down_and_those_after_it_failed_to():
    unit, notes, going_down = Unit(), Notes(), [True]
    schedules = Schedules(lambda: [unit], notes, lambda: going_down[0])  # type: ignore[list-item,return-value,arg-type]
    schedules._arm(1_800_000_000.0)
    due = schedules.next["nightly"]
    schedules._fire(due)
    assert (unit.fed, notes.kinds) == ([], ["schedule_skipped"])
    going_down[0] = False
    schedules._arm(due)
    schedules._fire(schedules.next["nightly"])
    assert unit.fed == [Start("schedule")]
