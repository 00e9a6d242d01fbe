"""Why a task is as it is: one sentence with the facts, for whoever asks "why isn't it running?"."""

from __future__ import annotations

from paneview.control.model import TaskView
from paneview.tui import words
from paneview.tui.picture import Picture
from paneview.tui.text import clean


def why(task: TaskView, picture: Picture) -> str:
    """One sentence."""
    name, now = clean(task.name), picture.clock()
    tell = _TELL.get(task.state)
    text = tell(task, picture, now) if tell else task.state
    sentence = f"{name} {text}"
    reason = words.reason(task).partition("; restart ")[0]  # which says again what the sentence says
    told = (
        task.needs_input or not reason or reason in sentence or (task.state == "waiting" and ":" in sentence)
    )
    return f"{sentence}{'' if told else f': {reason}'}{_next(task, now)}."


def _running(task: TaskView, _picture: Picture, now: float) -> str:
    if task.needs_input:
        return f"waits for your answer: “{clean(task.needs_input)}”; i types it"
    up = words.uptime_text(task, now)
    since = f" for {up}" if up else ""
    health = {
        "healthy": " and is healthy",
        "unhealthy": " but is unhealthy",
        "starting": " but is not ready yet",
    }
    again = f", after {words.plural(task.restarts, 'restart')}" if task.restarts else ""
    return f"runs{since}{health.get(task.health, '')}{again}"


def _waiting(task: TaskView, picture: Picture, now: float) -> str:
    needed = [(name, picture.tasks.get(name)) for name in task.depends_on]
    held = [_held(clean(name), other, now) for name, other in needed if other is None or not other.ready]
    return "waits" + (f": {'; '.join(held)}" if held else "")


def _held(name: str, other: TaskView | None, now: float) -> str:
    """What is the matter with a task that another one needs."""
    if other is None:
        return f"there is no {name}"
    reason = words.reason(other)
    if other.running and other.probe_failures:
        note = reason.partition(": ")[2] or reason
        times = words.plural(other.probe_failures, "time")
        return f"{name}'s probe failed {times}, {note}{_next(other, now)}"
    state = words.look(other).word
    return f"{name} is {state}" + (f" ({reason})" if reason and reason != state else "")


def _next(task: TaskView, now: float) -> str:
    """When a probe that fails is tried again."""
    if not task.next_probe_at or not task.running:
        return ""
    left = max(0.0, task.next_probe_at - now)
    return f"; next in {left:.1f} s" if left < 10 else f"; next in {words.duration(left)}"


def _backoff(task: TaskView, _picture: Picture, now: float) -> str:
    wait = f" in {words.duration(max(0.0, task.next_start_at - now))}" if task.next_start_at else ""
    most = "" if task.max_restarts is None else f" of at most {task.max_restarts}"
    return f"{_ended(task)} and is started again{wait} (restart {task.restarts}{most})"


def _failed(task: TaskView, _picture: Picture, _now: float) -> str:
    if words.condition(task) == "quarantined":
        return f"{_ended(task)} again and again, and is kept from starting until somebody starts it (s)"
    if task.restart_policy == "no":
        tail = "; its restart policy is “no”"
    else:
        most = "" if task.max_restarts is None else f", at most {task.max_restarts} are allowed"
        tail = f"; it was restarted {words.plural(task.restarts, 'time')}{most}"
    return f"{_ended(task)} and stays down{tail}"


def _stopped(_task: TaskView, _picture: Picture, _now: float) -> str:
    return "was stopped by hand and stays down until somebody starts it"


def _done(task: TaskView, _picture: Picture, _now: float) -> str:
    took = ""
    if task.started_at and task.ended_at:
        took = f" after {words.duration(task.ended_at - task.started_at)}"
    return f"is done: it ended with 0{took}"


def _idle(task: TaskView, _picture: Picture, _now: float) -> str:
    return "has not been started yet" + ("" if task.auto_start else "; it is started by hand only (s)")


def _ended(task: TaskView) -> str:
    if task.signal:
        return f"was ended by SIG{words.signal_name(task.signal)}"
    return "ended" if task.exit_code is None else f"ended with exit code {task.exit_code}"


_TELL = {
    "running": _running,
    "waiting": _waiting,
    "backoff": _backoff,
    "failed": _failed,
    "stopped": _stopped,
    "done": _done,
    "idle": _idle,
    "starting": lambda *_: "is being started",
    "stopping": lambda *_: "is being stopped",
}
