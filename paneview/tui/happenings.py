"""Events as people read them: a glyph, a colour's role, and a sentence made from the event.

What a person did is marked with an arrow and the client's name, to distinguish it from what happened by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple

from paneview.control.model import EventView
from paneview.text import person
from paneview.tui import words
from paneview.tui.text import clean


class Happening(NamedTuple):
    """How an event reads. ``by``: the client through which a person did it, empty for what happened by itself."""

    glyph: str
    role: str
    subject: str
    text: str
    by: str


# kind: glyph, role, phrase. `_FACTS` adds what the event's detail holds.
PHRASES: dict[str, tuple[str, str, str]] = {
    "supervisor_started": ("●", "ok", "supervisor started"),
    "supervisor_stopped": ("■", "dim", "supervisor ended"),
    "supervisor_adopted": ("●", "ok", "supervisor took over what was running"),
    "session_started": ("●", "dim", "everything is started"),
    "session_stopped": ("■", "dim", "everything is stopped"),
    "task_waiting": ("◔", "attention", "waits"),
    "task_started": ("◐", "dim", "started"),
    "task_ready": ("●", "ok", "ready"),
    "task_healthy": ("●", "ok", "healthy"),
    "task_unhealthy": ("▲", "failed", "unhealthy"),
    "health_check_failed": ("▲", "attention", "health check failed"),
    "task_exited": ("○", "attention", "exited"),
    "task_needs_input": ("◆", "attention", "needs input"),
    "task_input_given": ("●", "ok", "got its answer"),
    "task_stopping": ("◑", "attention", "stopping"),
    "task_stopped": ("■", "dim", "stopped"),
    "task_killed": ("■", "attention", "killed"),
    "task_restarted": ("↻", "ok", "restarted"),
    "auto_restart": ("↻", "attention", "restarted by policy"),
    "restart_scheduled": ("↻", "attention", "restart scheduled"),
    "max_restarts_reached": ("✗", "failed", "gave up restarting"),
    "task_failed": ("✗", "failed", "failed"),
    "task_lost": ("✗", "failed", "lost"),
    "task_adopted": ("●", "ok", "found again, still running"),
    "spawn_failed": ("✗", "failed", "could not be started"),
    "store_failed": ("✗", "failed", "nothing can be stored"),
    "store_restored": ("●", "ok", "storing works again"),
    "log_gap": ("▲", "failed", "output may be missing"),
    "tmux_lost": ("✗", "failed", "the connection to tmux has ended"),
    "tmux_restored": ("●", "ok", "tmux is there again"),
    "config_reloaded": ("●", "ok", "configuration reloaded"),
    "change_refused": ("▲", "failed", "goes on as it was"),
    "scale_dropped": ("▲", "failed", "number of replicas by the file again"),
    "config_rejected": ("✗", "failed", "file refused, nothing changed"),
    "queue_lost": ("✗", "failed", "the queue does not answer"),
    "queue_restored": ("●", "ok", "the queue answers again"),
    "worker_hung": ("▲", "failed", "hangs, and is killed"),
    "worker_quarantined": ("✗", "failed", "quarantined, U on 3 releases it"),
    "worker_unquarantined": ("●", "ok", "released from quarantine"),
    "job_dispatched": ("●", "dim", "job dispatched"),
    "job_retried": ("↻", "ok", "queued again"),
    "job_cancelled": ("■", "attention", "job cancelled"),
    "job_purged": ("■", "dim", "dead letters forgotten"),
    "workflow_started": ("●", "dim", "workflow begun"),
    "workflow_waiting": ("◆", "attention", "needs you, n goes there"),
    "workflow_budget": ("▲", "attention", "budget"),
    "workflow_conflict": ("▲", "attention", "collides with another branch"),
    "workflow_done": ("✓", "ok", "workflow done"),
    "workflow_failed": ("✗", "failed", "workflow failed"),
    "workflow_cancelled": ("■", "attention", "workflow cancelled"),
    "runner_paused": ("▲", "failed", "runner paused"),
    "runner_resumed": ("●", "ok", "runner goes on"),
    "websocket_started": ("●", "ok", "WebSocket API is on"),
    "websocket_stopped": ("■", "dim", "WebSocket API is off"),
    "websocket_failed": ("✗", "failed", "WebSocket API cannot listen"),
    "counter_reset": ("●", "dim", "healthy for a while, restarts count from 0 again"),
    "dependency_timeout": ("✗", "failed", "a dependency did not get ready in time"),
    "refused": ("✗", "failed", "not done"),
    "version": ("▲", "attention", "two versions of paneview"),
    "hook_failed": ("✗", "failed", "hook failed"),
    "port_cleared": ("▲", "attention", "ended what was listening on its port"),
    "leftovers_ended": ("▲", "attention", "ended processes that it left behind"),
    "stray_ended": ("▲", "attention", "ended a stray run"),
    "schedule_skipped": ("▲", "attention", "skipped a scheduled run"),
    "task_removed": ("■", "dim", "removed"),
    "store_damaged": ("✗", "failed", "a database was damaged"),
    "internal_error": ("✗", "failed", "a defect of paneview"),
}

_FACTS: dict[str, Callable[[Any], str]] = {
    "exit_code": lambda value: f"with {value}",
    "signal": lambda value: f"by {words.signal_name(value) if isinstance(value, int) else value}",
    "needed": lambda value: f"needed {value}",
    "pid": lambda value: f"pid {value}",
    "delay": lambda value: _after(float(value)),
    "restarts": lambda value: f"restart {value}",
    "port": lambda value: f"port {value}",
    "hook": str,
    "error": str,
    "reason": str,
    "message": str,
}
# Events whose cause is never the person who asked for them.
_OF_THE_FILE = frozenset({"config_reloaded", "config_rejected"})
_BY_ITSELF = " by supervisor"
# Exit codes that are no trouble.
_QUIET_EXITS = (0, None)


def happening(event: EventView, before: EventView | None = None) -> Happening:
    """The event in words. A cause that the event ``before`` has given already is not repeated."""
    glyph, role, phrase = PHRASES.get(event.kind, ("·", "dim", event.kind.replace("_", " ")))
    if event.kind == "task_exited":
        glyph, role = _exit_look(event.detail)
    facts = [tell(value) for key, tell in _FACTS.items() if (value := _fact(event, key)) is not None]
    cause, by = _cause(event)
    if cause and cause not in facts and (before is None or _cause(before)[0] != cause):
        facts.append(cause)
    if facts and facts[0].startswith(("with ", "by ", "in ", "at once")):
        phrase = f"{phrase} {facts.pop(0)}"
    return Happening(
        glyph,
        role,
        subject(event),
        clean(" · ".join([phrase, *facts])),
        clean(by),
    )


def subject(event: EventView) -> str:
    """What the event is about: a task, or a workflow's definition."""
    return clean(event.task or str(event.detail.get("plan") or ""))


def _after(seconds: float) -> str:
    if seconds < 0.05:
        return "at once"
    return f"in {words.duration(seconds)}" if seconds >= 1 else f"in {seconds:.1f}s"


def _fact(event: EventView, key: str) -> Any:
    value = event.detail.get(key)
    if value == "" or (key == "exit_code" and event.detail.get("signal")):
        return None
    return value


def _cause(event: EventView) -> tuple[str, str]:
    """What led to the event, unless its facts say so, and the client through which a person did it."""
    cause, actor = event.cause or "", event.actor or ""
    if file := event.detail.get("file"):
        cause = cause.replace(f"{PurePath(str(file)).parent}/", "")  # a long folder would fill the line
    if actor.startswith("user:"):
        return cause if event.kind in _OF_THE_FILE else "", person(actor)
    said = event.kind == "task_exited" or cause.endswith(_BY_ITSELF)  # an exit's cause is the exit itself
    return "" if said else cause, ""


def _exit_look(detail: dict[str, Any]) -> tuple[str, str]:
    if detail.get("signal") is None and detail.get("exit_code") in _QUIET_EXITS:
        return "✓", "ok"
    return "✗", "failed"
