"""Claims, renewals and results: each is one rename."""

from __future__ import annotations

import heapq
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from paneview.broker.directory import ending, entry
from paneview.broker.directory.desk import Desk
from paneview.broker.directory.disk import GONE, move, names, remove
from paneview.broker.directory.foreign import mirror
from paneview.broker.directory.layout import Spot, order_of, read_name
from paneview.broker.errors import UnknownJobError
from paneview.broker.model import Attempt, Claim, Finished, Hold, Lease, NewJob, Outcome, Result
from paneview.rules.jobs import JobState, Verdict, after_error, judge

LONG = 1000  # names in a folder above which its listing is reused
FRESH = 0.25  # seconds for which it is reused: how late an urgent job may be seen with a long backlog


class Backlog:
    """The names in the lanes' folders. Short folders are listed each time, long ones every `FRESH` seconds."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._long: dict[str, tuple[float, list[str]]] = {}

    def names(self, lane: str) -> list[str]:
        """The lane's names in reverse order, the best last. Pop each one you take."""
        known = self._long.get(lane)
        if known is not None and known[1] and known[0] > time.monotonic():
            return known[1]
        folder = self._desk.layout.lane(JobState.QUEUED, lane)
        found = sorted(names(folder), reverse=True)
        if len(found) > LONG:
            self._long[lane] = time.monotonic() + FRESH, found
        return found

    def best(self, lanes: Sequence[str]) -> Iterator[Spot]:
        """The jobs of all lanes, best first."""
        streams = [self._stream(lane) for lane in lanes]
        for _, spot in heapq.merge(*streams, key=lambda pair: pair[0]):
            yield spot

    def _stream(self, lane: str) -> Iterator[tuple[str, Spot]]:
        listed = self.names(lane)
        while listed:
            name = listed.pop()
            spot = read_name(JobState.QUEUED, lane, name)
            if spot is None:
                folder = self._desk.layout.lane(JobState.QUEUED, lane)
                self._desk.set_aside(f"{folder}/{name}", "its name is not one of ours")
                continue
            yield spot.order, spot


def claim(desk: Desk, backlog: Backlog, want: Claim) -> list[Lease]:
    """Claim the next jobs that no other process takes first."""
    leases: list[Lease] = []
    for spot in backlog.best(want.lanes):
        if lease := take(desk, spot, want):
            leases.append(lease)
        if len(leases) == want.n:
            break
    return leases


def take(desk: Desk, spot: Spot, want: Claim) -> Lease | None:
    """Claim the job at this spot; None if another process was quicker."""
    path = desk.layout.path(spot)
    seconds = desk.settings.lease if want.seconds is None else want.seconds
    if not desk.is_file(path):
        return None
    try:
        os.utime(path)  # before the move, or the reaper would find an old lease
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    leased = replace(
        spot,
        state=JobState.LEASED,
        lane="",
        token=spot.token + 1,
        attempts=spot.attempts + 1,
        due=0,
        lease_ms=round(seconds * 1000),
        since_ms=desk.scratch.tick() // 1000,
        owner=want.owner,
        mark=os.urandom(4).hex(),
    )
    if not move(path, desk.layout.path(leased), ours=True):
        return None
    spec = desk.spec_at(desk.layout.path(leased))
    if spec is None:
        desk.set_aside(desk.layout.path(leased), "it is not the whole file of a job")
        return None
    desk.feed.tell("job_claimed", spec.id, want.owner, {"attempt": leased.attempts, "token": leased.token})
    mirror(desk, spec, "in_progress")
    job = desk.to_job(leased, spec, None)
    return Lease(job, want.owner, leased.token, leased.attempts, seconds, leased.mark)


def take_by_id(desk: Desk, job: str, want: Claim) -> Lease | None:
    """Claim this job; None if it cannot be claimed. Raises `UnknownJobError`."""
    for _ in range(10):
        spot = desk.find(job)
        if spot is None:
            raise UnknownJobError(job)
        if spot.state not in (JobState.QUEUED, JobState.DELAYED):
            return None
        if lease := take(desk, spot, want):
            return lease
    return None


def spot_of(lease: Lease) -> Spot:
    """Where the file of a held job is, as long as it is held."""
    job = lease.job
    return Spot(
        JobState.LEASED,
        "",
        order_of(job.priority, round(job.submitted_at * 1e6)),
        job.id,
        lease.token,
        lease.attempt,
        lease_ms=round(lease.seconds * 1000),
        since_ms=round((job.leased_at or 0.0) * 1000),
        owner=lease.owner,
        mark=lease.mark,
    )


def renew(desk: Desk, lease: Lease) -> Hold:
    """Extend a lease by its length from now."""
    try:
        os.utime(desk.layout.path(spot_of(lease)))
    except OSError as error:
        if error.errno in GONE:
            return "lost"
        raise
    return "cancel" if os.path.exists(desk.layout.wish(lease.id)) else "held"


def release(desk: Desk, lease: Lease, delay: float, reason: str) -> bool:
    """Hand a job back without counting the attempt; False if it was no longer held."""
    spot = spot_of(lease)
    spec = desk.spec_at(desk.layout.path(spot))
    if spec is None:
        return False
    if (wish := desk.wish(lease.id)) is not None:
        return ending.end(desk, spot, JobState.CANCELLED, ending.cancelled(desk, spot, wish))
    if not ending.give_back(desk, spot, spec, delay=delay, attempts=spot.attempts - 1):
        return False
    desk.feed.tell("job_released", lease.id, lease.owner, {"reason": reason, "delay": delay})
    return True


def finish(desk: Desk, lease: Lease, outcome: Outcome, follow_ups: Sequence[NewJob]) -> Finished:
    """Deliver a result. See `Broker.finish`."""
    if not follow_ups or outcome.status != "ok":
        verdict, state = _bring(desk, lease, outcome, ())
        return Finished(verdict, state)
    batch = f"{lease.id}.{lease.token}"
    entry.stage(desk, batch, follow_ups)
    verdict, state = _bring(desk, lease, outcome, [job.id for job in follow_ups])
    if verdict is Verdict.ACCEPTED:
        return Finished(verdict, state, entry.send(desk, batch, follow_ups))
    entry.unstage(desk, batch)
    return Finished(verdict, state)


def _bring(
    desk: Desk, lease: Lease, outcome: Outcome, follow_ups: Sequence[str]
) -> tuple[Verdict, JobState | None]:
    spot = spot_of(lease)
    for _ in range(20):
        told = _settle(desk, lease, spot, outcome, follow_ups)
        if told is not None:
            return Verdict.ACCEPTED, told
        # No longer held. The last holder's result still counts, as long as no other worker has claimed the job.
        found = desk.find(lease.id)
        if found is None:
            return Verdict.STALE, None
        verdict = judge(found.state, found.token, lease.token, ok=outcome.status == "ok")
        if verdict is not Verdict.ACCEPTED:
            return verdict, found.state
        spot = found
    return Verdict.STALE, spot.state


def _settle(
    desk: Desk, lease: Lease, spot: Spot, outcome: Outcome, follow_ups: Sequence[str]
) -> JobState | None:
    """Move the job to the state its outcome leads to; None if it was not at this spot."""
    result = Result(
        lease.id, outcome.status, outcome.output, outcome.error, lease.owner, outcome.host, lease.token, lease.attempt,
        lease.job.leased_at, desk.scratch.tick() / 1e6,
    )  # fmt: skip
    state = JobState.DONE
    wish = None
    if outcome.status != "ok":
        wish = desk.wish(lease.id)
        state = JobState.CANCELLED if outcome.status == "cancelled" or wish is not None else JobState.DEAD
    if state is JobState.CANCELLED:
        result = result._replace(status=outcome.status, error=wish or outcome.error or "by its worker")
    elif state is JobState.DEAD:
        return _failed(desk, lease, spot, outcome, result)
    return state if ending.end(desk, spot, state, result, follow_ups=follow_ups) else None


def _failed(desk: Desk, lease: Lease, spot: Spot, outcome: Outcome, result: Result) -> JobState | None:
    after = after_error(
        lease.attempt,
        lease.job.max_attempts,
        retry=outcome.retry,
        retry_in=outcome.retry_in,
        backoff=desk.settings.backoff,
        chance=random.random(),  # noqa: S311 - jitter
    )
    error = outcome.error or "failed"
    attempt = Attempt(lease.attempt, lease.token, lease.owner, error, result.finished_at)
    # Before the move, so that a dead letter keeps every error, whatever happens.
    first = desk.note_attempt(lease.id, attempt)
    if after.state is JobState.DEAD:
        moved = ending.end(desk, spot, after.state, result)
    else:
        spec = desk.spec(lease.id)
        moved = spec is not None and ending.give_back(desk, spot, spec, delay=after.delay)
    if not moved:
        if first:
            remove(desk.layout.attempt(lease.id, lease.token))
        return None
    if after.state is not JobState.DEAD:
        desk.feed.tell("job_retry", lease.id, lease.owner, {"error": error, "delay": round(after.delay, 3)})
    return after.state
