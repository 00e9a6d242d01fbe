"""The life cycle of a task: every change of a task's state is decided here, or in `stopping`, and nowhere else.

``step`` takes a state, an event and the time, and returns the next state and the effects. The shell around it
(`paneview.supervisor`) carries out the effects and feeds their results back in as further events.

::

    idle ──start──▶ waiting ──dependencies met──▶ starting ──spawned──▶ running
                      ▲  ▲                            │ spawn failed       │ exited, lost, unhealthy
                      │  └────────due──── backoff ◀───┴────────────────────┤ by policy
                      │                                                    ├──▶ done    (exit 0)
                      │                                                    └──▶ failed  (given up)
                      └── restart ── stopping ◀── stop, kill, restart, unhealthy
                                        └── last process gone, hooks through ──▶ stopped

Three things are derived from the state, and so are no effects: when to wake up (`deadline`), whether to probe
(`wants_probe`), and whether dependents may start (`paneview.rules.graph`). A run's exit comes as an event only
when its whole process tree is gone, so no state here ever has two runs alive.
"""

from __future__ import annotations

from msgspec.structs import replace

from paneview.rules import stopping
from paneview.rules.respawns import count_respawn, counted, forget_old_restarts, gives_up, released
from paneview.rules.restart import HEALTHY_RESETS_AFTER, Exit, delay, describe, wants_restart
from paneview.rules.states import (
    SUPERVISOR,
    UNKNOWN_EXIT,
    DependenciesMet,
    Emit,
    Event,
    Exited,
    Health,
    Launch,
    Lost,
    Outcome,
    Policy,
    Probed,
    Redefined,
    Restart,
    RootGone,
    SessionEnded,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
    StopBegun,
    Stopped,
    StopRefused,
    TaskPhase,
    TaskState,
    Then,
    Tick,
    TreeGone,
)
from paneview.text import person


def deadline(state: TaskState) -> float | None:
    """When the task next needs a `Tick` (epoch seconds), or None."""
    if state.phase in (TaskPhase.BACKOFF, TaskPhase.STOPPING):
        return state.due
    if state.phase is TaskPhase.RUNNING and state.attempt and state.healthy_since is not None:
        return state.healthy_since + HEALTHY_RESETS_AFTER
    return None


def wants_probe(state: TaskState, policy: Policy) -> bool:
    """Whether the current run should be probed."""
    settled = policy.probed_once and state.health is Health.HEALTHY and not state.failures
    return policy.probed and state.phase is TaskPhase.RUNNING and not settled


def begins_anew(state: TaskState, *, by_itself: bool) -> bool:
    """Whether a task gets a new run because it has another definition; ``by_itself``: nobody else has to start it.

    What has ended was the end of the old one; a person's stop and a quarantine stay what they are.
    """
    if state.phase in (TaskPhase.DONE, TaskPhase.FAILED):
        return by_itself and not state.manual_stop and not state.quarantined
    return state.phase in (TaskPhase.RUNNING, TaskPhase.STARTING, TaskPhase.BACKOFF)


def step(  # noqa: C901, PLR0911, PLR0912 - a table: one line an event
    state: TaskState, event: Event, now: float, policy: Policy, chance: float = 0.5
) -> Outcome:
    """The next state and the effects of one event. ``chance`` in [0, 1) is random, for the jitter.

    An event that has no meaning in this state changes nothing: late answers are normal.
    """
    match event:
        case Start(by):
            return _start(state, now, by)
        case Restart(by):
            return _restart(state, now, by)
        case Stop(by, kill):
            return _stop(state, now, by, kill)
        case DependenciesMet():
            return _dependencies_met(state)
        case Spawned(run):
            return _spawned(state, now, policy, run)
        case SpawnFailed():
            return _spawn_failed(state, now, policy, chance, event)
        case Exited(exit_):
            return _ended(state, now, policy, chance, exit_)
        case Lost(reason, exit_):
            return _lost(state, now, policy, chance, reason, exit_)
        case StopBegun():
            return stopping.begun(state, now, policy)
        case StopRefused(reason):
            return stopping.refused(state, now, policy, reason)
        case RootGone():
            return stopping.root_gone(state, now)
        case TreeGone():
            return stopping.tree_gone(state)
        case Stopped(exit_, began):
            if not began:
                state = replace(state, reason=f"{state.reason} before it began")
            return _stopped(state, now, policy, chance, exit_)
        case Probed(ok, detail):
            return _probed(state, now, policy, ok, detail)
        case Redefined():
            return _redefined(state, now, policy)
        case Tick():
            return _tick(state, now, policy)
        case SessionEnded():
            return _session_ended(state)


def _start(state: TaskState, now: float, by: str) -> Outcome:
    fresh = released(state)
    match state.phase:
        case TaskPhase.WAITING | TaskPhase.STARTING | TaskPhase.RUNNING:
            return Outcome(replace(state, manual_stop=False))
        case TaskPhase.STOPPING:
            return Outcome(stopping.start_after(fresh, f"started by {person(by)}", by))
        case _:
            return _wait(fresh, now, f"started by {person(by)}", by)


def _wait(state: TaskState, now: float, cause: str, by: str = SUPERVISOR) -> Outcome:
    waiting = replace(
        state, phase=TaskPhase.WAITING, due=None, stage=None, then=Then.STOP, then_cause="", then_by="",
        killed=False, reason="", waiting_since=now, ready=False, health=Health.NONE, failures=0, healthy_since=None,
        cause=cause, caused_by=by,
    )  # fmt: skip
    return Outcome(waiting, (Emit("task_waiting", cause, by=by),))


def _restart(state: TaskState, now: float, by: str) -> Outcome:
    if state.phase is TaskPhase.RUNNING:
        fresh = released(state)
        return stopping.begin(fresh, f"restarted by {person(by)}", by, Then.START)
    if state.phase is TaskPhase.STARTING:
        return Outcome(replace(state, manual_stop=False))
    if state.phase is TaskPhase.STOPPING:
        return Outcome(stopping.start_after(released(state), f"restarted by {person(by)}", by))
    return _start(state, now, by)


def _stop(state: TaskState, now: float, by: str, kill: bool) -> Outcome:
    marked = replace(state, manual_stop=True, then=Then.STOP, killed=kill)
    reason = f"{'killed' if kill else 'stopped'} by {person(by)}"
    match state.phase:
        case TaskPhase.IDLE | TaskPhase.DONE | TaskPhase.FAILED | TaskPhase.STOPPED:
            return Outcome(marked)
        case TaskPhase.WAITING | TaskPhase.BACKOFF:
            emit = Emit("task_stopped", reason, {"phase": state.phase.value}, by, of_run=False)
            return Outcome(_rest(replace(marked, stopped_by=by), TaskPhase.STOPPED, now, reason), (emit,))
        case TaskPhase.STARTING:
            return stopping.while_launching(marked, reason, by)
        case TaskPhase.STOPPING:
            return stopping.once_more(state, now, reason, by, kill)
        case _ if kill:
            return stopping.kill(marked, now, reason, by)
        case _:
            return stopping.begin(marked, reason, by, Then.STOP)


def _rest(state: TaskState, phase: TaskPhase, now: float, reason: str) -> TaskState:
    """The state of a task that has come to rest: nothing runs, nothing is due."""
    return replace(
        state, phase=phase, due=None, stage=None, then=Then.STOP, then_cause="", then_by="", ready=False,
        health=Health.NONE, failures=0, healthy_since=None, waiting_since=None, reason=reason,
        ended_at=state.ended_at or now,
    )  # fmt: skip


def _dependencies_met(state: TaskState) -> Outcome:
    if state.phase is not TaskPhase.WAITING:
        return Outcome(state)
    return Outcome(replace(state, phase=TaskPhase.STARTING, waiting_since=None), (Launch(),))


def _spawned(state: TaskState, now: float, policy: Policy, run: int) -> Outcome:
    if stopping.before_launch(state):
        return stopping.launched(state, now, policy, run)
    if state.phase is not TaskPhase.STARTING:
        return Outcome(state)
    running = replace(
        state, phase=TaskPhase.RUNNING, run=run, started_at=now, ended_at=None, exit=UNKNOWN_EXIT, reason="",
        failures=0, health=Health.STARTING if policy.probed else Health.NONE, ready=not policy.probed,
        healthy_since=None if policy.probed else now,
    )  # fmt: skip
    return Outcome(running, (Emit("task_started", state.cause, {"restart": state.attempt}, state.caused_by),))


def _spawn_failed(state: TaskState, now: float, policy: Policy, chance: float, why: SpawnFailed) -> Outcome:
    reason, emit = why.reason, Emit("spawn_failed", why.reason, of_run=False)
    if stopping.before_launch(state):
        if why.withdrawn:
            detail = {"phase": TaskPhase.STARTING.value}
            emit = Emit(stopping.ended_as(state), state.reason, detail, state.stopped_by, of_run=False)
        if state.then is Then.START:
            cause, by = stopping.then(state)
            return Outcome(_wait(state, now, cause, by).state, (emit, Emit("task_restarted", cause, by=by)))
        return Outcome(_rest(state, TaskPhase.STOPPED, now, state.reason), (emit,))
    if state.phase is not TaskPhase.STARTING:
        return Outcome(state)
    if not why.retry or policy.restart == "no":
        told = (emit, Emit("task_failed", reason, of_run=False))
        return Outcome(_rest(replace(state, ended_at=now), TaskPhase.FAILED, now, reason), told)
    decided = _retry(replace(state, ended_at=now), now, policy, chance, reason)
    return Outcome(decided.state, (emit, *decided.effects))


def _ended(state: TaskState, now: float, policy: Policy, chance: float, exit_: Exit) -> Outcome:
    if state.phase is TaskPhase.STOPPING:
        return _stopped(state, now, policy, chance, exit_)
    if state.phase is not TaskPhase.RUNNING:
        return Outcome(state)
    words = describe(exit_)
    ended = replace(state, ended_at=now, exit=exit_)
    emit = Emit("task_exited", words, {"exit_code": exit_.code, "signal": exit_.signal})
    if wants_restart(policy.restart, exit_):
        decided = _retry(ended, now, policy, chance, words)
        return Outcome(decided.state, (emit, *decided.effects))
    if exit_.success:
        return Outcome(_rest(ended, TaskPhase.DONE, now, ""), (emit,))
    failed = f"{words}, restart policy is {policy.restart!r}"
    return Outcome(_rest(ended, TaskPhase.FAILED, now, failed), (emit, Emit("task_failed", failed)))


def _lost(state: TaskState, now: float, policy: Policy, chance: float, reason: str, exit_: Exit) -> Outcome:
    if state.phase is TaskPhase.STOPPING:
        return _stopped(state, now, policy, chance, exit_)
    if state.phase is not TaskPhase.RUNNING:
        return Outcome(state)
    detail = {"exit_code": exit_.code, "signal": exit_.signal}
    told = (Emit("task_lost", reason, detail),)
    ended = replace(state, ended_at=now, exit=exit_)
    if not wants_restart(policy.restart, exit_):
        phase = TaskPhase.DONE if exit_.success else TaskPhase.FAILED
        return Outcome(_rest(ended, phase, now, "" if exit_.success else reason), told)
    decided = _retry(ended, now, policy, chance, reason)
    return Outcome(decided.state, told + decided.effects)


def _retry(state: TaskState, now: float, policy: Policy, chance: float, why: str) -> Outcome:
    """A run ended, and the policy restarts the task: at once, later, or, past its limit, no more."""
    state, effects = forget_old_restarts(state, now)
    if gave_up := gives_up(state, now, policy, why):
        reason, told = gave_up
        state = replace(state, quarantined=policy.quarantine is not None)
        return Outcome(
            _rest(state, TaskPhase.FAILED, now, reason), (*effects, told, Emit("task_failed", reason))
        )
    state = count_respawn(state, now, policy)
    wait = delay(state.attempt, policy.backoff, chance)
    detail = counted(state, policy) | {"delay": round(wait, 3)}
    if wait <= 0:
        waiting = _wait(state, now, why).state
        return Outcome(waiting, (*effects, Emit("auto_restart", why, detail)))
    resting = _rest(state, TaskPhase.BACKOFF, now, why)
    return Outcome(replace(resting, due=now + wait), (*effects, Emit("restart_scheduled", why, detail)))


def _stopped(state: TaskState, now: float, policy: Policy, chance: float, exit_: Exit) -> Outcome:
    if state.phase is not TaskPhase.STOPPING:
        return Outcome(state)
    ended = replace(state, ended_at=now, exit=exit_, tree_gone=False)
    detail = {
        "exit_code": exit_.code,
        "signal": exit_.signal,
        "stage": state.stage.value if state.stage else "",
    }
    needed = stopping.needed(state)
    if needed:
        detail["needed"] = needed
    match state.then:
        case Then.STOP:
            told = Emit(stopping.ended_as(state), state.reason, detail, state.stopped_by)
            reason = state.reason + (f"; it needed {needed}" if needed else "")
            return Outcome(_rest(ended, TaskPhase.STOPPED, now, reason), (told,))
        case Then.START:
            told = Emit("task_stopped", state.reason, detail, state.stopped_by)
            cause, by = stopping.then(state)
            return Outcome(_wait(ended, now, cause, by).state, (told, Emit("task_restarted", cause, by=by)))
        case Then.RETRY:
            decided = _retry(ended, now, policy, chance, state.reason)
            return Outcome(decided.state, (Emit("task_stopped", state.reason, detail), *decided.effects))


def _probed(state: TaskState, now: float, policy: Policy, ok: bool, detail: str) -> Outcome:
    if state.phase is not TaskPhase.RUNNING or not policy.probed:
        return Outcome(state)
    if ok:
        return _probe_passed(state, now, detail)
    if not state.ready:
        late = state.started_at is not None and now - state.started_at >= policy.start_grace
        if not late:
            return Outcome(state)
        return _sick(state, policy, f"not ready within {policy.start_grace:g} s: {detail}")
    failures = state.failures + 1
    facts = {"attempt": failures, "of": policy.health_retries, "detail": detail}
    told = Emit("health_check_failed", detail, facts)
    failing = replace(state, failures=failures, healthy_since=None)
    if failures < policy.health_retries:
        return Outcome(failing, (told,))
    decided = _sick(failing, policy, f"{failures} health checks failed in a row: {detail}")
    return Outcome(decided.state, (told, *decided.effects))


def _probe_passed(state: TaskState, now: float, detail: str) -> Outcome:
    since = now if state.healthy_since is None else state.healthy_since
    well = replace(state, health=Health.HEALTHY, ready=True, failures=0, healthy_since=since, reason="")
    if not state.ready:
        took = round(now - state.started_at, 3) if state.started_at else None
        return Outcome(well, (Emit("task_ready", detail, {"after_s": took}),))
    if state.health is Health.UNHEALTHY or state.failures:
        return Outcome(well, (Emit("task_healthy", detail),))
    return Outcome(well)


def _sick(state: TaskState, policy: Policy, why: str) -> Outcome:
    """The run is unhealthy: emit that once, and end the run if the policy restarts it."""
    sick = replace(state, health=Health.UNHEALTHY, healthy_since=None, reason=why)
    told = () if state.health is Health.UNHEALTHY else (Emit("task_unhealthy", why),)
    if policy.restart == "no":
        return Outcome(sick, told)
    ending = stopping.begin(sick, why, SUPERVISOR, Then.RETRY)
    return Outcome(ending.state, (*told, *ending.effects))


def _redefined(state: TaskState, now: float, policy: Policy) -> Outcome:
    """Undo what a probe or a policy that is no longer in the file has left in the state; nothing else would."""
    if state.phase is TaskPhase.BACKOFF and policy.restart == "no":
        failed = f"{state.reason}, restart policy is 'no'"
        return Outcome(_rest(state, TaskPhase.FAILED, now, failed), (Emit("task_failed", failed),))
    if state.phase is not TaskPhase.RUNNING or policy.probed or (state.ready and state.health is Health.NONE):
        return Outcome(state)
    since = now if state.healthy_since is None else state.healthy_since
    alive = replace(state, health=Health.NONE, ready=True, failures=0, healthy_since=since, reason="")
    kind = "task_healthy" if state.ready else "task_ready"
    told = (
        ()
        if state.ready and state.health is Health.HEALTHY
        else (Emit(kind, "it has no health check any more"),)
    )
    return Outcome(alive, told)


def _tick(state: TaskState, now: float, policy: Policy) -> Outcome:
    due = deadline(state)
    if due is None or now < due:
        return Outcome(state)
    if state.phase is TaskPhase.RUNNING:
        return forget_old_restarts(state, now)
    if state.phase is TaskPhase.BACKOFF:
        detail = counted(state, policy)
        return Outcome(_wait(state, now, state.reason).state, (Emit("auto_restart", state.reason, detail),))
    return stopping.escalate(state, now, policy)


def _session_ended(state: TaskState) -> Outcome:
    if state.phase.active:
        return Outcome(state)
    idle = replace(
        TaskState(), run=state.run, started_at=state.started_at, ended_at=state.ended_at, exit=state.exit
    )
    return Outcome(idle)
