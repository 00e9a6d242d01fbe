"""Jobs, workers and lanes as JSON objects: what the command line prints and the Python API returns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from paneview.broker.directory.foreign import local_time
from paneview.broker.interface import mark_of
from paneview.broker.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from paneview.broker import Event, Job, LaneStats, WorkerView

WORDS = {
    "queued": "pending", "delayed": "pending", "blocked": "pending", "leased": "in_progress", "done": "completed",
    "dead": "failed", "cancelled": "failed",
}  # fmt: skip
"""claude-queue's names of the states."""
RUNNING = "running"
"""What people call the state `leased`: programs get its own name."""
MOST_WORDS = 400  # characters of a job's subject or error in a list


def job_json(job: Job) -> dict[str, Any]:
    """A job with everything about it. Times are epoch seconds."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "status": WORDS[job.state.value],
        "payload": job.payload,
        "target": str(job.target),
        "role": job.target.role or None,
        "host": job.target.host or None,
        "lane": job.lane,
        "priority": job.priority,
        "timeout": job.timeout,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "token": job.token,
        "submitted_at": job.submitted_at,
        "submitted_by": job.submitted_by,
        "key": job.key or None,
        "meta": dict(job.meta),
        "after": list(job.after),
        "group": job.group or None,
        "not_before": job.not_before,
        "owner": job.owner or None,
        "leased_at": job.leased_at,
        "lease_until": job.lease_until,
        "cancel": job.cancel,
        "ended_at": job.ended_at,
        "errors": [attempt.as_json() for attempt in job.errors],
        "result": job.result.as_json() if job.result else None,
    }


def state_word(state: str) -> str:
    """A job's state as it is told to people."""
    return RUNNING if state == "leased" else state


def is_task(job: Job) -> bool:
    """Whether claude-queue knows such jobs: a prompt for a host or for any worker."""
    return job.kind == "prompt" and job.target == Target(host=job.target.host)


def task_json(job: Job) -> dict[str, Any]:
    """A job in claude-queue's format."""
    return {
        "id": job.id,
        "command": what_of(job),
        "from_host": job.submitted_by.rpartition("@")[2],  # a command line submits as user@host
        "target_host": job.target.host or None,
        "timestamp": local_time(job.submitted_at),
        "status": WORDS[job.state.value],
        "metadata": dict(job.meta),
    }


def job_brief(job: Job) -> dict[str, Any]:
    """A job for a list: `job_json` without the long fields, but with the beginning of its subject and error."""
    found = job_json(job)
    for name in ("payload", "errors", "result", "meta", "after"):
        del found[name]
    return {**found, "what": what_of(job)[:MOST_WORDS], "error": _error_of(job)[:MOST_WORDS]}


def what_of(job: Job) -> str:
    """What a job is about: a prompt's text, a phase and its workflow, else its payload."""
    payload = job.payload
    what = payload.get("text") if isinstance(payload, dict) else payload
    if isinstance(what, str):
        return what
    if job.kind == "phase" and isinstance(payload, dict) and {"phase", "workflow"} <= payload.keys():
        return f"{payload['phase']} of {payload['workflow']}"
    return "" if payload is None else json.dumps(payload, ensure_ascii=False)


def _error_of(job: Job) -> str:
    """Why the job is not done: its result's or last attempt's error; empty if there is none."""
    if job.result is not None and job.result.status != "ok":
        return job.result.error or job.result.status
    return job.errors[-1].error if job.errors and job.state.value != "done" else ""


def worker_json(view: WorkerView, quarantine: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A worker as others see it."""
    worker = view.worker
    return {
        "id": worker.id,
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "pane": worker.pane or None,
        "roles": list(worker.roles),
        "kinds": list(worker.meta.get("kinds", ())),
        "concurrency": worker.concurrency,
        "alive": view.alive,
        "started_at": view.started_at,
        "heartbeat_age_s": round(view.beat_age, 3),
        "ttl": worker.ttl,
        "jobs": list(view.jobs),
        "quarantined": view.quarantined,
        "reason": (mark_of(quarantine, worker.name, worker.host) or {}).get("reason"),
    }


def lane_json(lane: LaneStats) -> dict[str, Any]:
    """Statistics of a target's lane."""
    return {
        "lane": lane.lane,
        "target": str(Target.of(lane.lane)),
        "queued": lane.queued,
        "delayed": lane.delayed,
        "blocked": lane.blocked,
        "leased": lane.leased,
        "depth": lane.depth,
        "oldest_age_s": None if lane.oldest_age is None else round(lane.oldest_age, 3),
    }


def event_json(event: Event) -> dict[str, Any]:
    """An event of the queue."""
    return {
        "id": event.id,
        "ts": event.ts,
        "event": event.kind,
        "job": event.job or None,
        "worker": event.worker or None,
        "detail": dict(event.detail),
    }


def hosts_json(views: Iterable[WorkerView]) -> list[dict[str, Any]]:
    """Every host with the number of its workers and jobs, and the roles of those alive."""
    hosts: dict[str, dict[str, Any]] = {}
    for view in views:
        host = hosts.setdefault(
            view.worker.host, {"host": view.worker.host, "workers": 0, "alive": 0, "jobs": 0, "roles": []}
        )
        host["workers"] += 1
        host["alive"] += view.alive
        host["jobs"] += len(view.jobs)
        if view.alive:
            host["roles"] = sorted({*host["roles"], *view.worker.roles})
    return [hosts[name] for name in sorted(hosts)]
