"""A result comes in: what becomes of its job, what follows from it, and the worker's next jobs, in one transaction."""

from __future__ import annotations

import random
from collections.abc import Sequence

from paneview.broker.model import (
    Attempt,
    Claim,
    Finished,
    Lease,
    NewJob,
    Outcome,
    Result,
    Settings,
    Submitted,
    to_json,
)
from paneview.broker.sqlite.database import Step
from paneview.broker.sqlite.feed import note
from paneview.broker.sqlite.leases import claim as claim_next
from paneview.broker.sqlite.leases import die
from paneview.broker.sqlite.rows import with_error
from paneview.broker.sqlite.submit import after_done, end_cancelled, insert
from paneview.broker.waiting import job_topic
from paneview.rules.jobs import JobState, Next, Verdict, after_error, judge


def finish(
    step: Step,
    lease: Lease,
    outcome: Outcome,
    follow_ups: Sequence[NewJob],
    claim: Claim | None,
    settings: Settings,
) -> Finished:
    """See `Broker.finish`."""
    verdict, state = _settle(step, lease, outcome, settings)
    submitted: tuple[Submitted, ...] = ()
    if verdict is Verdict.ACCEPTED and state is JobState.DONE:
        submitted = tuple(insert(step, job, settings, limited=False) for job in follow_ups)
    leases = claim_next(step, claim, settings.lease) if claim else []
    return Finished(verdict, state, submitted, tuple(leases))


def _settle(
    step: Step, lease: Lease, outcome: Outcome, settings: Settings
) -> tuple[Verdict, JobState | None]:
    if outcome.status == "ok" and _held(step, lease, outcome):
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
_END_HELD = f"{_END} AND token = ? AND state = 'leased'"


def _held(step: Step, lease: Lease, outcome: Outcome) -> bool:
    """The usual case in one statement: who holds the job has done it. False: it is another case."""
    result = Result(
        lease.id, "ok", outcome.output, outcome.error, lease.owner, outcome.host, lease.token, lease.attempt,
        lease.job.leased_at, step.wall,
    )  # fmt: skip
    text = to_json("the result", result.as_json())
    if not step.sql(_END_HELD, (text, step.wall, lease.id, lease.token)).rowcount:
        return False
    _tell_done(step, result)
    return True


def _done(step: Step, result: Result) -> None:
    step.sql(_END, (to_json("the result", result.as_json()), step.wall, result.job))
    _tell_done(step, result)


def _tell_done(step: Step, result: Result) -> None:
    note(step, "job_done", result.job, result.worker)
    step.topics.add(job_topic(result.job))
    after_done(step, result.job)


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
