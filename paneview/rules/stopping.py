"""How a run is ended: the part of `paneview.rules.lifecycle` for the phase *stopping*.

::

    hooks ──all done──────────▶ interrupt ──grace──▶ terminate ──grace──▶ kill, again and again
      │                            ▲       (soon, once the first process is gone)
      └──one fails──▶ running      └── a launch is under way: nothing is due before it has a process

    nothing is left of the run ──▶ hooks: nothing is due any more

What follows the stop is what a person last asked for (`TaskState.then`); the cause in the stop's event is that of
whoever last changed what follows.
"""

from __future__ import annotations

from msgspec.structs import replace

from paneview.rules.states import (
    UNKNOWN_EXIT,
    BeginStop,
    Emit,
    Outcome,
    Policy,
    Signal,
    Stage,
    TaskPhase,
    TaskState,
    Then,
)

# From SIGTERM to SIGKILL a task gets its grace period again, but no more than this (seconds).
MAX_TERM_GRACE = 3.0
# SIGKILL is repeated at this interval (seconds) until nothing is left: a process may fork while it is being killed.
KILL_AGAIN = 0.5
# Processes that end by the same interrupt as the run's first one, but a little later, get this long (seconds).
LAST_MOMENTS = 0.25


def begin(state: TaskState, cause: str, by: str, then: Then) -> Outcome:
    """End the run, after its hooks."""
    ending = replace(
        state, phase=TaskPhase.STOPPING, stage=Stage.HOOKS, due=None, then=then, then_cause="", then_by="",
        reason=cause, stopped_by=by, root_gone=False,
    )  # fmt: skip
    return Outcome(ending, (Emit("task_stopping", cause, by=by), BeginStop()))


def kill(state: TaskState, now: float, cause: str, by: str) -> Outcome:
    """End the run at once; one that is still being launched, as soon as it has a process."""
    told = Emit("task_stopping", cause, {"signal": "SIGKILL"}, by)
    ending = replace(state, phase=TaskPhase.STOPPING, stage=Stage.KILL, reason=cause, stopped_by=by)
    if before_launch(state):
        return Outcome(ending, (replace(told, of_run=False),))
    return Outcome(replace(ending, due=now + KILL_AGAIN), (told, Signal(Stage.KILL)))


def while_launching(state: TaskState, cause: str, by: str) -> Outcome:
    """End a run that is being launched: it is signalled once the launch has answered."""
    stage = Stage.KILL if state.killed else Stage.INTERRUPT
    ending = replace(state, phase=TaskPhase.STOPPING, stage=stage, due=None, reason=cause, stopped_by=by)
    return Outcome(ending, (Emit("task_stopping", cause, {"phase": "starting"}, by, of_run=False),))


def once_more(state: TaskState, now: float, cause: str, by: str, kill_it: bool) -> Outcome:
    """Stop or kill a run that is already being ended: the task stays down, whatever was to follow."""
    kill_it = kill_it and not state.tree_gone
    marked = replace(
        state, manual_stop=True, then=Then.STOP, then_cause="", then_by="", killed=state.killed or kill_it
    )
    if kill_it and state.stage is not Stage.KILL:
        return kill(marked, now, cause, by)
    if state.then is Then.STOP and marked.killed == state.killed:
        return Outcome(marked)
    told = Emit("task_stopping", cause, by=by, of_run=not before_launch(state))
    return Outcome(replace(marked, reason=cause, stopped_by=by), (told,))


def start_after(state: TaskState, cause: str, by: str) -> TaskState:
    """Start the task again after the stop under way; the first to ask gives the cause."""
    if state.then is Then.START:
        return state
    return replace(state, then=Then.START, then_cause=cause, then_by=by)


def then(state: TaskState) -> tuple[str, str]:
    """Why a task is started again after its stop, and who asked for that."""
    return (state.then_cause, state.then_by) if state.then_cause else (state.reason, state.stopped_by)


def before_launch(state: TaskState) -> bool:
    """Whether a stop was requested during the launch, and the launch has not answered yet."""
    launching = state.stage in (Stage.INTERRUPT, Stage.KILL) and state.due is None and not state.tree_gone
    return state.phase is TaskPhase.STOPPING and launching


def launched(state: TaskState, now: float, policy: Policy, run: int) -> Outcome:
    """The launch has produced the process that a stop was already waiting for."""
    stage = Stage.KILL if state.stage is Stage.KILL else Stage.INTERRUPT
    due = now + (KILL_AGAIN if stage is Stage.KILL else policy.stop_grace)
    ending = replace(state, run=run, started_at=now, ended_at=None, exit=UNKNOWN_EXIT, due=due)
    return Outcome(
        ending, (Emit("task_started", state.cause, {"then": "stopped"}, state.caused_by), Signal(stage))
    )


def begun(state: TaskState, now: float, policy: Policy) -> Outcome:
    """The hooks before the stop have run: send the interrupt."""
    if state.phase is not TaskPhase.STOPPING or state.stage is not Stage.HOOKS:
        return Outcome(state)
    return Outcome(
        replace(state, stage=Stage.INTERRUPT, due=now + policy.stop_grace), (Signal(Stage.INTERRUPT),)
    )


def refused(state: TaskState, now: float, policy: Policy, reason: str) -> Outcome:
    """One of the hooks before the stop failed: the run goes on."""
    if state.phase is not TaskPhase.STOPPING or state.stage is not Stage.HOOKS:
        return Outcome(state)
    if state.root_gone:  # nothing is left that could go on
        through = begun(state, now, policy)
        return Outcome(through.state, (Emit("hook_failed", reason), *through.effects))
    running = replace(
        state, phase=TaskPhase.RUNNING, stage=None, then=Then.STOP, then_cause="", then_by="",
        manual_stop=False, reason=reason, due=None,
    )  # fmt: skip
    return Outcome(running, (Emit("hook_failed", reason),))


def root_gone(state: TaskState, now: float) -> Outcome:
    """Processes left soon after the first never got the interrupt (they have their own session): don't wait longer."""
    if state.phase is TaskPhase.STOPPING and state.stage is Stage.HOOKS:
        return Outcome(replace(state, root_gone=True))
    if state.phase is not TaskPhase.STOPPING or state.stage is not Stage.INTERRUPT or state.due is None:
        return Outcome(state)
    return Outcome(replace(state, due=min(state.due, now + LAST_MOMENTS)))


def tree_gone(state: TaskState) -> Outcome:
    """Nothing is left to signal: next comes the end of the hooks after the stop, however late."""
    if state.phase is not TaskPhase.STOPPING:
        return Outcome(state)
    return Outcome(replace(state, tree_gone=True, due=None))


def escalate(state: TaskState, now: float, policy: Policy) -> Outcome:
    """Go on to the next stage."""
    if state.stage is Stage.INTERRUPT:
        due = now + min(policy.stop_grace, MAX_TERM_GRACE)
        return Outcome(replace(state, stage=Stage.TERMINATE, due=due), (Signal(Stage.TERMINATE),))
    return Outcome(replace(state, stage=Stage.KILL, due=now + KILL_AGAIN), (Signal(Stage.KILL),))


def needed(state: TaskState) -> str:
    """The signal that it took to end the run, where that is more than what it was asked with; else empty."""
    if state.stage is Stage.TERMINATE:
        return "SIGTERM"
    return "SIGKILL" if state.stage is Stage.KILL and not state.killed else ""


def ended_as(state: TaskState) -> str:
    """The kind of event that reports the end."""
    return "task_killed" if state.killed else "task_stopped"
