"""Converting rows of the jobs table to jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from paneview.broker.boot import since_boot
from paneview.broker.jsontext import to_attempts, to_json
from paneview.broker.model import Attempt, Job, Lease, Outcome, Result
from paneview.broker.sqlite.schema import COLUMNS
from paneview.broker.targets import Target
from paneview.rules.jobs import JobState

SELECTED = ", ".join(COLUMNS)
_SECONDS = COLUMNS.index("lease_seconds")


def to_job(row: Sequence[Any]) -> Job:
    """The job in a row of `SELECTED`."""
    (
        id_, state, lane, priority, kind, payload, target, timeout, attempts, max_attempts, token,
        key, meta, after, _waits_for, group, submitted_by, submitted_at, _due, not_before, owner,
        leased_at, lease_until, _lease_seconds, cancel, errors, result, ended_at,
    ) = row  # fmt: skip
    return Job(
        id=id_,
        kind=kind,
        payload=json.loads(payload),
        target=Target.of(target),
        lane=lane,
        priority=priority,
        state=JobState(state),
        timeout=timeout,
        attempts=attempts,
        max_attempts=max_attempts,
        token=token,
        submitted_at=submitted_at,
        submitted_by=submitted_by,
        key=key or "",
        meta=json.loads(meta) if meta != "{}" else {},
        after=tuple(json.loads(after)) if after != "[]" else (),
        group=group,
        not_before=not_before,
        owner=owner,
        leased_at=leased_at,
        lease_until=time.time() + lease_until - since_boot() if state == "leased" else None,
        cancel=cancel,
        ended_at=ended_at,
        errors=to_attempts(errors),
        result=to_result(result, id_, owner, token, attempts, leased_at, ended_at),
    )


def to_lease(row: Sequence[Any]) -> Lease:
    """The lease of a claimed row of `SELECTED`, which is followed by its ``seq``: faster to look up than its id."""
    *columns, seq = row
    job = to_job(columns)
    return Lease(job, job.owner, job.token, job.attempts, columns[_SECONDS], str(seq))


def held_result(outcome: Outcome) -> str:
    """The result of a job done by its holder: only what is not in the row, because rows that grow split pages."""
    told = {"output": outcome.output, "error": outcome.error, "host": outcome.host or None}
    return to_json("the result", {name: value for name, value in told.items() if value is not None})


RESULT = "result, id, owner, token, attempts, leased_at, ended_at"
"""The columns of `to_result`."""


def to_result(
    result: str | None,
    id_: str,
    owner: str,
    token: int,
    attempts: int,
    leased_at: float | None,
    ended_at: float | None,
) -> Result | None:
    """A stored result, completed with what the row holds; None if there is none."""
    if not result:
        return None
    told = json.loads(result)
    if "job" in told:
        return Result(**told)
    output, error, host = told.get("output"), told.get("error"), told.get("host", "")
    return Result(id_, "ok", output, error, owner, host, token, attempts, leased_at, ended_at or 0.0)


def with_error(errors: str, attempt: Attempt) -> str:
    """The stored attempts plus one more."""
    one = to_json("an error", attempt.as_json())
    return f"{errors},{one}" if errors else one
