"""Tasks as clients see them: one JSON object per task, the same for the screen, the command line and the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paneview.rules import graph
from paneview.rules.restart import describe
from paneview.rules.states import Health, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paneview.proc import Usage
    from paneview.rules.graph import Graph
    from paneview.rules.states import TaskState
    from paneview.supervisor.unit import Unit


def task_view(unit: Unit, now: float, usage: Usage | None, log_end: int, why: str) -> dict[str, Any]:
    """The status object of one task. Times are epoch seconds, durations seconds, memory bytes."""
    state, task = unit.state, unit.task
    alive = state.phase in (Phase.RUNNING, Phase.STOPPING) and unit.live is not None
    window = (unit.live and unit.live.window_id) or (unit.row and unit.row.window_id) or None
    pane = (unit.live and unit.live.pane_id) or (unit.row and unit.row.pane_id) or None
    failing = alive and unit.probes.failed > 0
    return {
        "name": task.name,
        "state": state.phase.value,
        "health": state.health.value,
        "ready": state.ready,
        "reason": why,
        "probe_failures": unit.probes.failed if alive else 0,
        "next_probe_at": unit.probes.next_at if failing else None,
        "needs_input": (unit.question or None) if alive else None,
        "pid": unit.live.command_pid() if alive and unit.live else None,
        "exit_code": state.exit.code,
        "signal": state.exit.signal,
        "restarts": state.attempt,
        "restarts_total": state.restarts,
        "run": state.run,
        "uptime_s": round(now - state.started_at, 3) if alive and state.started_at else None,
        "started_at": state.started_at,
        "ended_at": None if alive else state.ended_at,
        "next_start_at": state.due if state.phase is Phase.BACKOFF else None,
        "manual_stop": state.manual_stop,
        "cpu_percent": usage.cpu_percent if alive and usage else (0.0 if alive else None),
        "rss_bytes": usage.rss_bytes if alive and usage else None,
        "processes": usage.processes if alive and usage else (1 if alive else 0),
        "command": task.command,
        "description": task.description,
        "group": task.group,
        "log_end": log_end,
        "running": alive,
        "healthy": alive and state.ready and state.health is not Health.UNHEALTHY,
        "auto_start": task.auto_start,
        "port": task.port,
        "restart_policy": task.restart_policy,
        "max_restarts": task.most_restarts,
        "cwd": str(task.cwd),
        "depends_on": [dependency.task for dependency in task.depends_on],
        "window_id": window,
        "pane_id": pane,
    }


def why(  # noqa: PLR0911 - one line a state
    unit: Unit, needs: Graph, states: Mapping[str, TaskState], notes: Mapping[str, str], now: float
) -> str:
    """One sentence on why the task is where it is; empty where the state's word says it all."""
    state = unit.state
    if unit.question and state.phase is Phase.RUNNING:
        return f"waits for an answer: {unit.question}"
    match state.phase:
        case Phase.WAITING:
            held = graph.unmet(unit.name, needs, states)
            words = [f"{one.task} {one.why}{_note(one.task, states, notes)}" for one in held]
            return "waits: " + "; ".join(words) if words else "waits for its turn"
        case Phase.BACKOFF:
            left = max(0.0, (state.due or now) - now)
            most = "" if unit.policy.max_restarts is None else f" of {unit.policy.max_restarts}"
            return f"{state.reason}; restart {state.attempt}{most} in {left:.1f} s"
        case Phase.RUNNING if state.health is Health.STARTING:
            return f"not ready yet{': ' + unit.probes.note if unit.probes.note else ''}"
        case Phase.RUNNING if state.failures and state.health is not Health.UNHEALTHY:
            return f"probe failed {state.failures} of {unit.policy.health_retries}: {unit.probes.note}"
        case Phase.STOPPING:
            stage = f" ({state.stage.value})" if state.stage else ""
            return f"{state.reason}{stage}"
        case Phase.FAILED | Phase.STOPPED | Phase.RUNNING:
            return state.reason
        case Phase.DONE:
            return describe(state.exit)
        case Phase.STARTING:
            return "is being started"
        case _:
            return "not started"


def _note(name: str, states: Mapping[str, TaskState], notes: Mapping[str, str]) -> str:
    note = notes.get(name, "")
    return f" ({note})" if note and states[name].phase is Phase.RUNNING else ""
