"""Converting hashes to jobs, and new jobs to the form that ``insert`` in ``inserting.lua`` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from paneview.broker.errors import BrokerError, DamagedJobError
from paneview.broker.jsontext import to_attempts, to_json
from paneview.broker.model import Attempt, Claim, Job, Lease, NewJob, Result, Settings
from paneview.broker.targets import Target
from paneview.rules.jobs import JobState


def new_job(job: NewJob, settings: Settings) -> dict[str, Any]:
    """A new job as a script reads it."""
    lane = job.target.lane
    after = list(dict.fromkeys(job.after))
    return {
        "id": job.id,
        "lane": lane,
        "priority": job.priority,
        "kind": job.kind,
        "payload": to_json("the payload", job.payload),
        "timeout": repr(float(settings.timeout if job.timeout is None else job.timeout)),
        "max_attempts": job.max_attempts or settings.max_attempts,
        "key": job.key,
        "meta": to_json("meta", dict(job.meta)),
        "after": after,
        "after_json": to_json("after", after),
        "group": job.group,
        "by": job.submitted_by,
        "delay_ms": round(job.delay * 1000),
        "note": to_json("an event", {"kind": job.kind, "lane": lane, "by": job.submitted_by}),
    }


def new_jobs(jobs: Sequence[NewJob], settings: Settings) -> str:
    """Several new jobs as JSON for a script."""
    return to_json("the jobs", [new_job(job, settings) for job in jobs]) if jobs else "[]"


@lru_cache(maxsize=64)  # a worker's claim is always the same
def wanted(want: Claim, lease: float) -> str:
    """A claim as JSON for a script; ``lease``: its length in seconds if the claim has none."""
    seconds = lease if want.seconds is None else want.seconds
    wish = {"owner": want.owner, "n": want.n, "lease_ms": round(seconds * 1000), "lanes": want.lanes}
    return to_json("a claim", wish)


def fields(flat: Sequence[str]) -> dict[str, str]:
    """The hash that a script returned as a flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _seconds(milliseconds: str) -> float | None:
    return int(milliseconds) / 1000 if milliseconds else None


def to_job(hash_: dict[str, str]) -> Job:
    """The job in a hash. Raises DamagedJobError if the hash was changed so that it cannot be read."""
    try:
        return _job(hash_)
    except KeyError as error:
        raise DamagedJobError(hash_["id"], f"its field {error.args[0]!r} is missing") from error
    except (ValueError, TypeError, RecursionError, BrokerError) as error:
        raise DamagedJobError(hash_["id"], str(error)) from error


def _job(hash_: dict[str, str]) -> Job:
    cancel = hash_["cancel"]
    return Job(
        id=hash_["id"],
        kind=hash_["kind"],
        payload=json.loads(hash_["payload"]),
        target=Target.of(hash_["target"]),
        lane=hash_["lane"],
        priority=int(hash_["priority"]),
        state=JobState(hash_["state"]),
        timeout=float(hash_["timeout"]),
        attempts=int(hash_["attempts"]),
        max_attempts=int(hash_["max_attempts"]),
        token=int(hash_["token"]),
        submitted_at=int(hash_["submitted_at"]) / 1000,
        submitted_by=hash_["submitted_by"],
        key=hash_["key"],
        meta=json.loads(hash_["meta"]) if hash_["meta"] != "{}" else {},
        after=tuple(json.loads(hash_["after"])) if hash_["after"] != "[]" else (),
        group=hash_["group"],
        not_before=_seconds(hash_["not_before"]),
        owner=hash_["owner"],
        leased_at=_seconds(hash_["leased_at"]),
        lease_until=_seconds(hash_["lease_until"]) if hash_["state"] == "leased" else None,
        cancel=cancel[1:] if cancel else None,
        ended_at=_seconds(hash_["ended_at"]),
        errors=to_attempts(hash_["errors"]),
        result=to_result(hash_),
    )


def to_lease(told: Sequence[Any]) -> Lease:
    """The lease of a job just claimed, as ``handed`` in ``claiming.lua`` returns it."""
    words, numbers, payload, meta, after, errors = told
    id_, kind, target, lane, key, group, by, owner, wish = words
    priority, timeout, attempts, most, token, submitted, leased, until, lease_ms = numbers
    job = Job(
        id=id_,
        kind=kind,
        payload=payload,
        target=Target.of(target),
        lane=lane,
        priority=priority,
        state=JobState.LEASED,
        timeout=float(timeout),
        attempts=attempts,
        max_attempts=most,
        token=token,
        submitted_at=submitted / 1000,
        submitted_by=by,
        key=key,
        meta=meta,
        after=tuple(after),
        group=group,
        not_before=None,
        owner=owner,
        leased_at=leased / 1000,
        lease_until=until / 1000,
        cancel=wish[1:] if wish else None,
        ended_at=None,
        errors=tuple([Attempt(**attempt) for attempt in errors]),
        result=None,
    )
    return Lease(job, owner, token, attempts, lease_ms / 1000)


def to_result(hash_: dict[str, str]) -> Result | None:
    """The result in a job's hash; None if there is none."""
    if "r_status" not in hash_ or not hash_["ended_at"]:
        return None
    error = hash_["r_error"]
    return Result(
        job=hash_["id"],
        status=cast("Any", hash_["r_status"]),
        output=json.loads(hash_["r_output"]),
        error=error[1:] if error else None,
        worker=hash_["r_worker"],
        host=hash_["r_host"],
        token=int(hash_["r_token"]),
        attempt=int(hash_["r_attempt"]),
        started_at=_seconds(hash_["r_started"]),
        finished_at=int(hash_["ended_at"]) / 1000,
    )
