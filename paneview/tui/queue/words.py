"""How jobs and workers are written on the screen: glyph and word, pure functions of what the supervisor sent."""

from __future__ import annotations

from paneview.control.queuemodel import JobView, QueueView, WorkerView
from paneview.tui.text import clean
from paneview.tui.words import Look, duration

WAITING = ("queued", "delayed", "blocked")
JOB_LOOKS = {
    "queued": Look("○", "queued", "title"),
    "delayed": Look("◔", "delayed", "dim"),
    "blocked": Look("◔", "blocked", "dim"),
    "leased": Look("●", "running", "ok"),
    "done": Look("✓", "done", "ok"),
    "dead": Look("✗", "dead", "failed"),
    "cancelled": Look("■", "cancelled", "dim"),
}
CANCELLING = Look("◑", "cancelling", "attention")
# What the list of jobs can be narrowed to, by name.
SHOWN: dict[str, tuple[str, ...]] = {
    "all": (),
    "waiting": WAITING,
    "running": ("leased",),
    "dead": ("dead",),
    "done": ("done",),
    "cancelled": ("cancelled",),
}
WORKER_LOOKS = {
    "idle": Look("●", "idle", "ok"),
    "busy": Look("◐", "busy", "ok"),
    "silent": Look("▲", "silent", "attention"),
    "quarantined": Look("✗", "quarantined", "failed"),
    "gone": Look("○", "gone", "dim"),
}


def job_look(job: JobView) -> Look:
    """How this job's state is shown."""
    if job.state == "leased" and job.cancel is not None:
        return CANCELLING
    return JOB_LOOKS.get(job.state) or Look("?", clean(job.state), "attention")


def job_age(job: JobView, now: float) -> str:
    """How long the job has been in its state; if it is delayed, how long until it is due."""
    if job.state == "delayed" and job.not_before is not None:
        return f"in {duration(max(0.0, job.not_before - now))}"
    return duration(max(0.0, now - job.since))


def worker_condition(worker: WorkerView, beat_age: float) -> str:
    """The key of `WORKER_LOOKS` for a worker whose last heartbeat is ``beat_age`` seconds old."""
    if worker.quarantined and not worker.alive:
        return "quarantined"
    if not worker.alive:
        return "gone"
    if beat_age > worker.ttl / 2:
        return "silent"
    return "busy" if worker.jobs else "idle"


def unseen(queue: QueueView) -> list[WorkerView]:
    """The quarantined names without a worker: tasks or panes whose worker never registered, or is gone."""
    seen = {
        name
        for worker in queue.workers
        if worker.quarantined
        for name in (worker.name, f"{worker.name}@{worker.host}")
    }
    return [
        WorkerView(name=name, host=str(mark.get("host", "")), quarantined=True, reason=mark.get("reason"))
        for name, mark in queue.quarantined.items()
        if name not in seen
    ]


def tries(job: JobView) -> str:
    """Attempts so far, of those allowed."""
    return f"{job.attempts}/{job.max_attempts}"
