"""Counting restarts: in a row until a minute of health, and for workers within a time window.

A task is given up after ``max_restarts`` in a row. A worker, whose death may be its jobs' fault, is brought back until
that has happened too often within the window; then it is quarantined until a person releases it.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from paneview.rules.jobs import crash_looping
from paneview.rules.restart import HEALTHY_RESETS_AFTER
from paneview.rules.states import Emit, Outcome, Policy, TaskState


def forget_old_restarts(state: TaskState, now: float) -> Outcome:
    """Reset the count of restarts in a row if the task has been healthy for long enough."""
    since = state.healthy_since
    if not state.attempt or since is None or now - since < HEALTHY_RESETS_AFTER:
        return Outcome(state)
    told = Emit("counter_reset", f"healthy for {HEALTHY_RESETS_AFTER:.0f} s", {"restarts": state.attempt})
    return Outcome(replace(state, attempt=0), (told,))


def released(state: TaskState) -> TaskState:
    """The state of a task that someone starts: without marks, its restarts not counted any more."""
    return replace(state, manual_stop=False, attempt=0, restarts=0, respawns=(), quarantined=False)


def count_respawn(state: TaskState, now: float, policy: Policy) -> TaskState:
    """Count one more automatic restart."""
    state = replace(state, attempt=state.attempt + 1, restarts=state.restarts + 1)
    if policy.quarantine is None:
        return state
    recent = tuple(at for at in state.respawns if now - policy.quarantine.window < at <= now)
    return replace(state, respawns=(*recent, now))


def counted(state: TaskState, policy: Policy) -> dict[str, Any]:
    """For an event: the number of this restart in a row, and the limit if there is one."""
    most = {} if policy.max_restarts is None else {"of": policy.max_restarts}
    return {"attempt": state.attempt, **most}


def gives_up(state: TaskState, now: float, policy: Policy, why: str) -> tuple[str, Emit] | None:
    """The reason and the event if there is no further restart; else None."""
    if policy.quarantine is not None:
        limit, window = policy.quarantine.limit, policy.quarantine.window
        if not crash_looping(state.respawns, now, limit, window):
            return None
        reason = f"quarantined after {limit} respawns in {window:g} s: {why}"
        return reason, Emit("worker_quarantined", reason, {"limit": limit, "window": window})
    most = policy.max_restarts
    if most is None or state.attempt < most:
        return None
    reason = f"{why}; gave up after {most} restart{'s' if most != 1 else ''}"
    return reason, Emit("max_restarts_reached", why, {"max_restarts": most})
