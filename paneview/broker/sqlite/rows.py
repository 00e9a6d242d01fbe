"""Rows of the jobs table as jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from paneview.broker.model import Attempt, Job, Lease, Result, to_json
from paneview.broker.sqlite.boot import since_boot
from paneview.broker.sqlite.schema import COLUMNS
from paneview.broker.targets import Target
from paneview.rules.jobs import JobState

SELECTED = ", ".join(COLUMNS)


def to_job(row: Sequence[Any]) -> Job:
    """A row of `SELECTED`."""
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
        result=to_result(result),
    )


def to_lease(row: Sequence[Any]) -> Lease:
    """A row of `SELECTED` that has just been claimed."""
    job = to_job(row)
    return Lease(job, job.owner, job.token, job.attempts, row[COLUMNS.index("lease_seconds")])


def to_attempts(errors: str) -> tuple[Attempt, ...]:
    """The attempts stored as objects with a comma between them."""
    return tuple(Attempt(**attempt) for attempt in json.loads(f"[{errors}]")) if errors else ()


def to_result(result: str | None) -> Result | None:
    """A stored result."""
    return Result(**json.loads(result)) if result else None


def with_error(errors: str, attempt: Attempt) -> str:
    """The stored attempts and one more."""
    one = to_json("an error", attempt.as_json())
    return f"{errors},{one}" if errors else one
