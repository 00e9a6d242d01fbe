"""Tasks as clients see them: one JSON object per task, the same for the screen, the command line and the API.

While no supervisor is running, the command line makes it from what the last one stored, which is less.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from paneview.config.models import WorkerSpec
from paneview.rules.restart import describe
from paneview.rules.states import Health, Stage, TaskPhase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paneview.config.models import Task
    from paneview.config.secrets import Masker
    from paneview.proc import Usage
    from paneview.rules.graph import Unmet
    from paneview.rules.states import TaskState
    from paneview.supervisor.tasks.unit import Unit

_STOPS = (TaskPhase.STOPPING, TaskPhase.STOPPED)


class Why(Struct, frozen=True):
    """Why a task is where it is, in words."""

    reason: str = ""
    """All of it in one line, for clients that show nothing else."""
    cause: str = ""
    """The part of it that led to the state; empty if the state, the exit or the question says it all."""
    waits_for: Sequence[Unmet] = ()


class Facts(Struct, frozen=True):
    """What a view shows in addition to definition and state. By default it does not run, and is not sampled."""

    why: Why = Why()
    running: bool = False
    healthy: bool = False
    pid: int | None = None
    uptime_s: float | None = None
    probe_failures: int = 0
    next_probe_at: float | None = None
    needs_input: str | None = None
    next_start_at: float | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    processes: int | None = None
    log_end: int | None = None
    window_id: str | None = None
    pane_id: str | None = None
    ahead: int = 0
    """Seconds by which the wall clock, which readers compare with, is ahead of the supervisor's: see `Clock`."""


def task_view(task: Task, state: TaskState, facts: Facts, masker: Masker) -> dict[str, Any]:
    """The status object of one task, without secrets. Times are epoch seconds, durations seconds, memory bytes."""
    return {
        "name": task.name,
        "state": state.phase.value,
        "health": state.health.value,
        "ready": state.ready,
        "reason": masker.text(facts.why.reason),
        "cause": masker.text(facts.why.cause),
        "waits_for": [
            {"task": one.task, "condition": one.condition, "why": masker.text(one.why)}
            for one in facts.why.waits_for
        ],
        "quarantined": state.quarantined,
        "probe_failures": facts.probe_failures,
        "next_probe_at": facts.next_probe_at,
        "needs_input": masker.text(facts.needs_input) if facts.needs_input else None,
        "pid": facts.pid,
        "exit_code": state.exit.code,
        "signal": state.exit.signal,
        "restarts": state.attempt,
        "restarts_total": state.restarts,
        "run": state.run,
        "uptime_s": facts.uptime_s,
        "started_at": _shown(state.started_at, facts.ahead),
        "ended_at": None if facts.running else _shown(state.ended_at, facts.ahead),
        "next_start_at": facts.next_start_at,
        "manual_stop": state.manual_stop,
        "stopped_by": (state.stopped_by or None) if state.phase in _STOPS else None,
        "cpu_percent": facts.cpu_percent,
        "rss_bytes": facts.rss_bytes,
        "processes": facts.processes,
        "command": masker.text(task.command),
        "description": task.description,
        "group": task.group,
        "log_end": facts.log_end,
        "running": facts.running,
        "healthy": facts.healthy,
        "auto_start": task.auto_start,
        "port": task.port,
        "restart_policy": task.restart_policy,
        "max_restarts": task.most_restarts,
        "cwd": str(task.cwd),
        "depends_on": [dependency.task for dependency in task.depends_on],
        "window_id": facts.window_id,
        "pane_id": facts.pane_id,
    }


def facts_of(
    unit: Unit, now: float, ahead: int, why: Why, usage: Usage | None, log_end: int, next_run: float | None
) -> Facts:
    """The facts of a supervised task. ``next_run``: when a schedule starts it next, in epoch seconds."""
    state, live = unit.state, unit.live
    window = (live and live.window_id) or (unit.row and unit.row.window_id) or None
    pane = (live and live.pane_id) or (unit.row and unit.row.pane_id) or None
    if live is None or state.phase not in (TaskPhase.RUNNING, TaskPhase.STOPPING):
        due = next_run or (_shown(state.due, ahead) if state.phase is TaskPhase.BACKOFF else None)
        return Facts(
            why, next_start_at=due, processes=0, log_end=log_end, window_id=window, pane_id=pane, ahead=ahead
        )
    return Facts(
        why,
        running=True,
        healthy=state.ready and state.health is not Health.UNHEALTHY,
        pid=live.command_pid(),
        uptime_s=round(now - state.started_at, 3) if state.started_at else None,
        probe_failures=unit.probes.failed,
        next_probe_at=unit.probes.next_at if unit.probes.failed else None,
        needs_input=unit.question or None,
        cpu_percent=usage.cpu_percent if usage else 0.0,
        rss_bytes=usage.rss_bytes if usage else None,
        processes=usage.processes if usage else 1,
        log_end=log_end,
        window_id=window,
        pane_id=pane,
        ahead=ahead,
    )


def definition_view(task: Task) -> dict[str, Any]:
    """A task's configuration for `inspect`, with the settings that only workers have among the others."""
    definition: dict[str, Any] = to_builtins(task, enc_hook=os.fspath)
    del definition["written"]  # of no use to clients
    worker = definition.pop("worker") or dict.fromkeys(WorkerSpec.__struct_fields__)
    return {**definition, **worker}


def _shown(moment: float | None, ahead: int) -> float | None:
    return None if moment is None else moment + ahead


def why(  # noqa: PLR0911 - one line a state
    unit: Unit, held_by: Sequence[Unmet], details: Mapping[str, str], now: float
) -> Why:
    """Why the task is where it is. Only this puts it into words; a screen adds no more than passing times.

    ``details`` are the latest probes' of what runs.
    """
    state, detail = unit.state, unit.probes.detail
    if unit.question and state.phase is TaskPhase.RUNNING:
        return Why(f"waits for an answer: {unit.question}")
    match state.phase:
        case TaskPhase.WAITING:
            held = [_with_detail(one, details.get(one.task, "")) for one in held_by]
            words = "; ".join(f"{one.task} {one.why}" for one in held)
            return Why(f"waits: {words}" if words else "waits for its turn", waits_for=held)
        case TaskPhase.BACKOFF:
            left = max(0.0, (state.due or now) - now)
            most = "" if unit.policy.max_restarts is None else f" of {unit.policy.max_restarts}"
            return Why(f"{state.reason}; restart {state.attempt}{most} in {left:.1f} s", state.reason)
        case TaskPhase.RUNNING if state.health is Health.STARTING:
            return Why(f"not ready yet{': ' + detail if detail else ''}", detail)
        case TaskPhase.RUNNING if state.failures and state.health is not Health.UNHEALTHY:
            return Why(f"probe failed {state.failures} of {unit.policy.health_retries}: {detail}", detail)
        case TaskPhase.STOPPING:
            stage = Stage.HOOKS if state.tree_gone else state.stage
            words = f"{state.reason} ({stage.value})" if stage else state.reason
            return Why(words, words)
        case TaskPhase.FAILED | TaskPhase.STOPPED | TaskPhase.RUNNING:
            return Why(state.reason, state.reason)
        case TaskPhase.DONE:
            return Why(describe(state.exit))
        case TaskPhase.STARTING:
            return Why("is being started")
        case _:
            return Why("not started")


def _with_detail(held: Unmet, detail: str) -> Unmet:
    """The dependency with the last probe result of its task added, if there is one."""
    return replace(held, why=f"{held.why} ({detail})") if detail else held
