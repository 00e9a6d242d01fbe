"""Why a task is as it is: one sentence with the facts, the answer to "why isn't it running?".

The cause is given in the supervisor's own words. This module adds what changes with time, and the key that helps.
"""

from __future__ import annotations

from paneview.control.model import HeldView, TaskView
from paneview.tui import words
from paneview.tui.picture import Picture
from paneview.tui.text import clean


def why(task: TaskView, picture: Picture) -> str:
    """Why the task is as it is, in one sentence."""
    now = picture.clock()
    tell = _TELL.get(task.state)
    text = tell(task, picture, now) if tell else task.state
    cause = "" if task.needs_input else words.cause(task)
    again = _next(task, now)
    return f"{clean(task.name)} {text}{f': {cause}' if cause else ''}{f'; {again}' if again else ''}."


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
    return f"runs{since}{health.get(task.health, '')}{again}{_failing(task)}"


def _failing(task: TaskView) -> str:
    if not task.running or not task.probe_failures:
        return ""
    return f", its probe failed {words.plural(task.probe_failures, 'time')}"


def _next(task: TaskView, now: float) -> str:
    """When a failing probe is tried again, or the schedule starts the next run; empty if neither."""
    if task.next_start_at and task.state in ("idle", "done", "failed"):
        return f"its schedule starts it at {words.moment(task.next_start_at, now)}"
    if not task.next_probe_at or not task.running:
        return ""
    left = max(0.0, task.next_probe_at - now)
    return f"next in {left:.1f} s" if left < 10 else f"next in {words.duration(left)}"


def _waiting(task: TaskView, picture: Picture, now: float) -> str:
    if task.waits_for:
        return f"waits: {'; '.join(_held(one, picture.tasks.get(one.task), now) for one in task.waits_for)}"
    return "waits" if task.cause is None else "waits for its turn"


def _held(held: HeldView, other: TaskView | None, now: float) -> str:
    text = clean(f"{held.task} {held.why}")
    if other is None:
        return text
    if other.state == "backoff":
        return text + _in(other, now)
    again = _next(other, now)
    return f"{text}{_failing(other)}{f', {again}' if again else ''}"


def _in(task: TaskView, now: float) -> str:
    """When it is started again."""
    return f" in {words.duration(max(0.0, task.next_start_at - now))}" if task.next_start_at else ""


def _backoff(task: TaskView, _picture: Picture, now: float) -> str:
    most = "" if task.max_restarts is None else f" of at most {task.max_restarts}"
    return f"is started again{_in(task, now)} (restart {task.restarts}{most})"


def _failed(task: TaskView, _picture: Picture, _now: float) -> str:
    kept = "is kept from starting until somebody starts it (s)"
    return kept if words.condition(task) == "quarantined" else "stays down"


def _stopped(_task: TaskView, _picture: Picture, _now: float) -> str:
    return "stays down until somebody starts it (s)"


def _done(task: TaskView, _picture: Picture, _now: float) -> str:
    took = ""
    if task.started_at and task.ended_at:
        took = f" after {words.duration(task.ended_at - task.started_at)}"
    return f"is done: it ended with 0{took}"


def _idle(task: TaskView, _picture: Picture, _now: float) -> str:
    by_hand = not task.auto_start and not task.next_start_at
    return "has not been started yet" + ("; it is started by hand only (s)" if by_hand else "")


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
