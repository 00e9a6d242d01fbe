"""Schedules over virtual time: one run at each time, never two at once, whatever the clock and the task do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paneview.rules.schedule import LONGEST_WAIT, Due, Scheduled, step
from paneview.rules.states import TaskPhase

NOON = 1_800_000_000.0
BUSY = [TaskPhase.WAITING, TaskPhase.STARTING, TaskPhase.RUNNING, TaskPhase.STOPPING, TaskPhase.BACKOFF]


def following(period: str, now: float) -> float:
    """The next time of a schedule: that of "60" has its times at whole minutes."""
    return (math.floor(now / float(period)) + 1) * float(period)


@dataclass
class World:
    """A wall clock, tasks, and a loop that does what `step` says."""

    schedules: dict[str, str]  # task -> seconds between its times
    now: float = NOON
    phase: TaskPhase = TaskPhase.IDLE
    manual_stop: bool = False
    held: str = ""
    broken: bool = False  # no next time can be worked out
    due: dict[str, Due] = field(default_factory=dict)
    started: list[tuple[str, float]] = field(default_factory=list)
    skipped: list[tuple[str, float, str]] = field(default_factory=list)

    def look(self) -> float:
        tasks = {
            name: Scheduled(
                period, None if self.broken else following(period, self.now), self.phase, self.manual_stop
            )
            for name, period in self.schedules.items()
        }
        turns = step(self.due, tasks, self.now, self.held)
        self.due = turns.due
        assert all(due.at > self.now for due in turns.due.values())
        assert turns.due.keys() <= tasks.keys()
        assert 0 < turns.wait <= LONGEST_WAIT  # never without a pause, never past a time
        assert all(due.at >= self.now + turns.wait - 1e-6 for due in turns.due.values())
        self.started += [(name, self.now) for name in turns.starts]
        self.skipped += [(name, self.now, why) for name, why in turns.skipped.items()]
        return turns.wait

    def advance(self, seconds: float) -> None:
        """Let time pass, with a look whenever one is due, and one at the end."""
        end = self.now + seconds
        while (wait := self.look()) <= end - self.now:
            self.now += wait
        self.now = end
        self.look()


periods = st.integers(1, 7200).map(str)


@given(st.dictionaries(st.sampled_from("abc"), periods, min_size=1), st.lists(st.floats(0, 900), max_size=8))
@example({"a": "60"}, [60.0, 0.0, 60.0])
def test_one_run_at_each_time_and_at_no_other_however_often_somebody_looks(
    schedules: dict[str, str], pauses: list[float]
) -> None:
    world = World(schedules)
    for pause in pauses:
        world.advance(pause)
    for name, period in schedules.items():
        first = following(period, NOON)
        times = [first + n * float(period) for n in range(int(max(0, world.now - first) / float(period)) + 1)]
        assert [at for task, at in world.started if task == name] == [at for at in times if at <= world.now]
    assert not world.skipped


@given(periods, st.lists(st.floats(-7200, 86400), min_size=1, max_size=20))
def test_a_clock_that_is_set_costs_one_run_at_most_and_no_time_that_is_ahead(
    period: str, jumps: list[float]
) -> None:
    world = World({"a": period})
    for jump in jumps:
        world.look()
        before, waited_for = len(world.started), world.due["a"].at
        world.now += jump
        world.look()
        assert len(world.started) - before == (world.now >= waited_for)
        assert world.due["a"].at == following(period, world.now)


@pytest.mark.parametrize("phase", BUSY)
def test_none_beside_another_which_is_told(phase: TaskPhase) -> None:
    world = World({"a": "60"}, phase=phase)
    world.advance(60)
    assert (world.started, world.skipped) == (
        [],
        [("a", NOON + 60, f"still {phase} when its next time came")],
    )
    world.phase = TaskPhase.DONE
    world.advance(60)
    assert world.started == [("a", NOON + 120)]


def test_none_after_a_manual_stop_and_nobody_is_told() -> None:
    world = World({"a": "60"}, phase=TaskPhase.STOPPED, manual_stop=True)
    world.advance(180)
    assert (world.started, world.skipped) == ([], [])


def test_none_while_nothing_is_to_start_and_those_after_it_are() -> None:
    world = World({"a": "60"}, held="the project is going down")
    world.advance(60)
    assert (world.started, world.skipped) == ([], [("a", NOON + 60, "the project is going down")])
    world.held = ""
    world.advance(60)
    assert world.started == [("a", NOON + 120)]


@given(st.floats(0, 119))
def test_a_time_that_is_known_comes_also_when_the_next_cannot_be_worked_out(pause: float) -> None:
    world = World({"a": "60"})
    world.look()
    world.broken = True
    world.advance(pause)
    assert world.started == [("a", NOON + 60)] * (pause >= 60)
    world.advance(3600)
    assert len(world.started) == 1
    world.broken = False
    world.advance(60)
    assert len(world.started) == 2


def test_another_expression_counts_from_now_on_also_one_whose_next_time_cannot_be_worked_out() -> None:
    world = World({"a": "60"})
    world.look()
    world.schedules["a"], world.broken = "90", True
    world.advance(75)
    assert world.started == []
    world.broken = False
    world.advance(60)
    assert world.started == [("a", NOON + 90)]


def test_a_schedule_that_was_taken_away_is_forgotten() -> None:
    world = World({"a": "60"})
    world.look()
    del world.schedules["a"]
    world.advance(60)
    assert (world.started, world.due) == ([], {})


def test_a_time_that_has_passed_is_never_due() -> None:
    turns = step({}, {"a": Scheduled("60", NOON - 1800)}, NOON)
    assert (turns.due, turns.starts, turns.wait) == ({}, [], LONGEST_WAIT)
