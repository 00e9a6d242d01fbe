from __future__ import annotations

from paneview.rules import lifecycle
from paneview.rules.restart import Exit
from paneview.rules.states import (
    DependenciesMet,
    Emit,
    Exited,
    Policy,
    Quarantine,
    Spawned,
    Start,
    TaskPhase,
    TaskState,
    Tick,
)

POLICY = Policy(max_restarts=None, backoff=0.0, quarantine=Quarantine(3, 100.0))


def die(state: TaskState, now: float) -> tuple[TaskState, list[str]]:
    """One run: started, and dead at ``now``."""
    for event in (DependenciesMet(), Spawned(1)):
        state = lifecycle.step(state, event, now, POLICY).state
    state, effects = lifecycle.step(state, Exited(Exit(1)), now, POLICY)
    return state, [effect.kind for effect in effects if isinstance(effect, Emit)]


def start(state: TaskState, now: float) -> TaskState:
    return lifecycle.step(state, Start("user:me"), now, POLICY).state


def test_too_many_respawns_in_the_window_are_a_quarantine() -> None:
    state = start(TaskState(), 0)
    for now in (1.0, 2.0, 3.0):
        state, kinds = die(state, now)
        assert state.phase is TaskPhase.WAITING
        assert "auto_restart" in kinds
    state, kinds = die(state, 4.0)
    assert state.phase is TaskPhase.FAILED
    assert state.quarantined
    assert state.reason == "quarantined after 3 respawns in 100 s: exit code 1"
    assert "worker_quarantined" in kinds
    assert lifecycle.step(state, Tick(), 1000.0, POLICY).state == state  # only a person releases it
    again = TaskState.from_dict(state.to_dict())
    assert again == state
    free = start(again, 5.0)
    assert (free.quarantined, free.respawns) == (False, ())
    state, _ = die(free, 6.0)
    assert state.phase is TaskPhase.WAITING


def test_what_lies_outside_the_window_does_not_count() -> None:
    state = start(TaskState(), 0)
    for number in range(20):
        state, _ = die(state, 40.0 * number)
    assert state.phase is TaskPhase.WAITING
    assert len(state.respawns) == 3


def test_other_tasks_know_no_quarantine() -> None:
    state = start(TaskState(), 0)
    for event in (DependenciesMet(), Spawned(1)):
        state = lifecycle.step(state, event, 1.0, Policy(max_restarts=0)).state
    state = lifecycle.step(state, Exited(Exit(1)), 1.0, Policy(max_restarts=0)).state
    assert (state.phase, state.quarantined, state.respawns) == (TaskPhase.FAILED, False, ())
