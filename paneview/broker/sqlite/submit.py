"""Submitting jobs, and releasing or cancelling those that wait for others."""

from __future__ import annotations

from paneview.broker.errors import QueueFullError
from paneview.broker.jsontext import to_json
from paneview.broker.model import NewJob, Result, Settings, Submitted
from paneview.broker.sqlite.database import Step
from paneview.broker.sqlite.feed import note
from paneview.broker.waiting import job_topic
from paneview.rules.jobs import JobState, after_needs

_INSERT = """
INSERT INTO jobs (id, state, lane, priority, kind, payload, target, timeout, max_attempts, key, meta, after, waits_for,
    grp, submitted_by, submitted_at, due, not_before)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_DEPTH = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'queued' AND lane = ?1 LIMIT ?2))
    + (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'delayed' AND lane = ?1 LIMIT ?2))
    + (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'blocked' AND lane = ?1 LIMIT ?2))
"""


def insert(step: Step, job: NewJob, settings: Settings, *, limited: bool) -> Submitted:
    """Insert a job, unless one with its id or key exists. Raises `QueueFullError`."""
    if existing := step.one("SELECT id FROM jobs WHERE id = ? OR key = ?", job.id, job.key or None):
        return Submitted(existing[0], created=False)
    lane = job.target.lane
    limit = settings.max_depth
    if limited and limit is not None and step.one(_DEPTH, lane, limit)[0] >= limit:
        raise QueueFullError(job.target, limit)
    needs = {need: _state_of(step, need) for need in job.after}
    state = after_needs(needs.values(), delayed=job.delay > 0)
    waits_for = [need for need, need_state in needs.items() if need_state is not JobState.DONE]
    step.sql(
        _INSERT,
        (
            job.id, state, lane, job.priority, job.kind, to_json("the payload", job.payload), lane,
            settings.timeout if job.timeout is None else job.timeout, job.max_attempts or settings.max_attempts,
            job.key or None, to_json("meta", dict(job.meta)), to_json("after", job.after), len(waits_for),
            job.group, job.submitted_by, step.wall, step.now + job.delay if job.delay else None,
            step.wall + job.delay if job.delay else None,
        ),
    )  # fmt: skip
    note(step, "job_submitted", job.id, detail={"kind": job.kind, "lane": lane, "by": job.submitted_by})
    if state is JobState.BLOCKED:
        for need in waits_for:
            step.sql("INSERT INTO needs VALUES (?, ?)", (need, job.id))
    elif state is JobState.CANCELLED:
        end_cancelled(step, job.id, f"it needs {waits_for[0]}, which is not there or did not end well")
    step.topics.add(lane)
    return Submitted(job.id, created=True)


def _state_of(step: Step, job: str) -> JobState | None:
    row = step.one("SELECT state FROM jobs WHERE id = ?", job)
    return JobState(row[0]) if row else None


def after_done(step: Step, job: str) -> None:
    """Unblock the jobs that waited for this one only."""
    for (waiting,) in step.rows("DELETE FROM needs WHERE need = ? RETURNING job", job):
        row = step.one(
            """
            UPDATE jobs SET waits_for = waits_for - 1,
                state = CASE WHEN waits_for > 1 THEN state WHEN due > ? THEN 'delayed' ELSE 'queued' END
            WHERE id = ? AND state = 'blocked' RETURNING state, lane
            """,
            step.now,
            waiting,
        )
        if row and row[0] != JobState.BLOCKED:
            note(step, "job_unblocked", waiting, detail={"by": job})
            step.topics.add(row[1])


def after_failed(step: Step, job: str, what: str) -> None:
    """Cancel the jobs that waited for this one, those that waited for them, and so on."""
    failed = [(job, what)]
    while failed:
        need, how = failed.pop()
        for (waiting,) in step.rows("SELECT job FROM needs WHERE need = ?", need):
            _cancelled(step, waiting, f"it needs {need}, which {how}", None)
            failed.append((waiting, "was cancelled"))


def end_cancelled(step: Step, job: str, reason: str, *, result: Result | None = None) -> None:
    """Cancel a job in whatever state, keeping its holder's result if there is one."""
    _cancelled(step, job, reason, result)
    after_failed(step, job, "was cancelled")


def _cancelled(step: Step, job: str, reason: str, result: Result | None) -> None:
    step.sql("DELETE FROM needs WHERE job = ?", (job,))
    if result is None:
        holder = step.one("SELECT owner, token, attempts, leased_at FROM jobs WHERE id = ?", job)
        owner, token, attempts, leased_at = holder
        result = Result(job, "cancelled", None, reason, owner, "", token, attempts, leased_at, step.wall)
    step.sql(
        "UPDATE jobs SET state = 'cancelled', cancel = ?, result = ?, ended_at = ?, due = NULL WHERE id = ?",
        (reason, to_json("the result", result.as_json()), step.wall, job),
    )
    note(step, "job_cancelled", job, result.worker, {"reason": reason})
    step.topics.add(job_topic(job))
