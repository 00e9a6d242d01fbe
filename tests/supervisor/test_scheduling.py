"""Schedules over virtual time: one run at each time, none beside another, none after a manual stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from paneview.rules.states import Phase, Start, TaskState
from paneview.supervisor.scheduling import Schedules

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


def test_a_schedule_that_was_taken_out_of_the_file_is_forgotten():
    unit = Unit()
    schedules = Schedules(lambda: [unit], Notes())  # type: ignore[list-item,return-value,arg-type]
    schedules._arm(1_800_000_000.0)
    assert schedules.next
    unit.task.schedule = None
    schedules._arm(1_800_000_001.0)
    assert not schedules.next
