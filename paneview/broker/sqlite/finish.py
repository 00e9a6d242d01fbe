"""Handling a result: the job's new state, its follow-ups and the worker's next jobs, in one transaction."""

from __future__ import annotations

import random
from collections.abc import Sequence

from paneview.broker.jsontext import to_json
from paneview.broker.model import (
    Attempt,
    Lease,
    NewJob,
    Outcome,
    Result,
    Settings,
    Submitted,
)
from paneview.broker.sqlite.database import Step
from paneview.broker.sqlite.feed import note
from paneview.broker.sqlite.leases import die
from paneview.broker.sqlite.rows import with_error
from paneview.broker.sqlite.submit import after_done, end_cancelled, insert
from paneview.broker.waiting import job_topic
from paneview.rules.jobs import JobState, Next, Verdict, after_error, judge


def follow(step: Step, follow_ups: Sequence[NewJob], settings: Settings) -> tuple[Submitted, ...]:
    """Submit the follow-ups of a job that is done."""
    return tuple(insert(step, job, settings, limited=False) for job in follow_ups)


def settle(
    step: Step, lease: Lease, outcome: Outcome, text: str, settings: Settings, *, needed: bool
) -> tuple[Verdict, JobState | None]:
    """Apply the outcome to the job; ``text`` is `held_result` of the outcome. See `Broker.finish`."""
    if outcome.status == "ok" and _held(step, lease, text, needed=needed):
        return Verdict.ACCEPTED, JobState.DONE
    row = step.one(
        "SELECT state, token, attempts, max_attempts, cancel, errors, leased_at FROM jobs WHERE id = ?",
        lease.id,
    )
    if row is None:
        return Verdict.STALE, None
    state, token, attempts, limit, cancel, errors, leased_at = row
    verdict = judge(JobState(state), token, lease.token, ok=outcome.status == "ok")
    if verdict is not Verdict.ACCEPTED:
        return verdict, JobState(state)
    result = Result(
        lease.id, outcome.status, outcome.output, outcome.error, lease.owner, outcome.host, token, lease.attempt,
        leased_at, step.wall,
    )  # fmt: skip
    if outcome.status == "ok":
        _done(step, result)
        return verdict, JobState.DONE
    if outcome.status == "cancelled" or cancel is not None:
        end_cancelled(step, lease.id, cancel or outcome.error or "by its worker", result=result)
        return verdict, JobState.CANCELLED
    attempt = Attempt(attempts, token, lease.owner, outcome.error or "failed", step.wall)
    step.sql("UPDATE jobs SET errors = ? WHERE id = ?", (with_error(errors, attempt), lease.id))
    after = after_error(
        attempts,
        limit,
        retry=outcome.retry,
        retry_in=outcome.retry_in,
        backoff=settings.backoff,
        chance=random.random(),  # noqa: S311 - jitter
    )
    if after.state is JobState.DEAD:
        die(step, lease.id, result)
    else:
        _again(step, result, after)
    return verdict, after.state


_END = "UPDATE jobs SET state = 'done', result = ?, ended_at = ?, due = NULL, cancel = NULL WHERE id = ?"
_END_HELD = """
UPDATE jobs SET state = 'done', result = ?, ended_at = ?
WHERE seq = ? AND id = ? AND token = ? AND state = 'leased' AND cancel IS NULL
"""  # nothing else to set: a leased job has no due time


def _held(step: Step, lease: Lease, text: str, *, needed: bool) -> bool:
    """The usual case in one statement: the holder has done the job. False if this is another case."""
    if not step.sql(_END_HELD, (text, step.wall, lease.mark, lease.id, lease.token)).rowcount:
        return False
    _tell_done(step, lease.id, lease.owner, needed=needed)
    return True


def _done(step: Step, result: Result) -> None:
    step.sql(_END, (to_json("the result", result.as_json()), step.wall, result.job))
    _tell_done(step, result.job, result.worker, needed=True)


def _tell_done(step: Step, job: str, worker: str, *, needed: bool) -> None:
    note(step, "job_done", job, worker)
    step.topics.add(job_topic(job))
    if needed:
        after_done(step, job)


def _again(step: Step, result: Result, after: Next) -> None:
    later = after.state is JobState.DELAYED
    (lane,) = step.one(
        "UPDATE jobs SET state = ?, due = ?, not_before = ? WHERE id = ? RETURNING lane",
        after.state,
        step.now + after.delay if later else None,
        step.wall + after.delay if later else None,
        result.job,
    )
    note(
        step, "job_retry", result.job, result.worker, {"error": result.error, "delay": round(after.delay, 3)}
    )
    step.topics.add(lane)
