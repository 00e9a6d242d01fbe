"""Queries."""

from __future__ import annotations

from paneview.broker.directory import ending
from paneview.broker.directory.desk import WAITING, Desk
from paneview.broker.directory.disk import names
from paneview.broker.directory.foreign import read_result
from paneview.broker.directory.guests import Guests, guest
from paneview.broker.directory.layout import Spot, short
from paneview.broker.errors import UnknownJobError
from paneview.broker.model import Job, JobFilter, LaneStats, Result
from paneview.rules.jobs import FINAL, JobState


def job(desk: Desk, job_id: str) -> Job | None:
    """A job by id; None if there is none."""
    spot = desk.find(job_id)
    return _at(desk, spot) if spot else guest(desk, job_id)


def _at(desk: Desk, spot: Spot) -> Job | None:
    spec = desk.spec(spot.id)
    if spec is None:
        return None
    return desk.to_job(spot, spec, _result_of(desk, spot) if spot.state in FINAL else None)


def _result_of(desk: Desk, over: Spot) -> Result:
    """The result of a job that is over, published first if the process that ended the job was killed before that."""
    path = desk.layout.result(over.id)
    found = read_result(path)
    if found is None:
        ending.publish(desk, over)
        found = read_result(path)
    if found is not None:
        return found
    attempts = desk.attempts(over.id)  # the result was removed: return what is left
    error = attempts[-1].error if attempts else "its result was removed"
    status = {JobState.DONE: "ok", JobState.DEAD: "error", JobState.CANCELLED: "cancelled"}[over.state]
    return Result(over.id, status, None, error, "", "", over.token, over.attempts, None, over.submitted / 1e6)  # type: ignore[arg-type]


def result(desk: Desk, job_id: str) -> Result | None:
    """The result of a job; None while it is not over. Raises `UnknownJobError`."""
    if found := read_result(desk.layout.result(job_id)):
        return found
    spot = desk.find(job_id)
    if spot is not None:
        return _result_of(desk, spot) if spot.state in FINAL else None
    if theirs := guest(desk, job_id):
        return theirs.result
    raise UnknownJobError(job_id)


def jobs(desk: Desk, wanted: JobFilter, guests: Guests) -> list[Job]:
    """The jobs that match, newest first."""
    found: list[Job] = []
    spots = _candidates(desk, wanted)
    ours = {spot.id for spot in spots}
    none = wanted.group or (wanted.states and JobState.QUEUED not in wanted.states)
    theirs = [] if none else guests.waiting(desk)
    more = [one for one in theirs if wanted.accepts(one) and one.id not in ours]
    listed: list[Spot | Job] = [*spots, *more]
    for one in sorted(listed, key=lambda one: -_submitted(one)):
        each = one if isinstance(one, Job) else _at(desk, one)
        if each is not None and wanted.accepts(each):
            found.append(each)
            if len(found) >= wanted.limit:
                break
    return found


def _submitted(one: Spot | Job) -> float:
    """Seconds."""
    return one.submitted_at if isinstance(one, Job) else one.submitted / 1e6


def _candidates(desk: Desk, wanted: JobFilter) -> list[Spot]:
    if wanted.group:
        folder = f"{desk.layout.own}/groups/{short(wanted.group)}"
        spots = [desk.find(name.removesuffix(".json")) for name in names(folder)]
        found = [spot for spot in spots if spot is not None]
    else:
        found = []
        # In the order of a job's life: one that moves meanwhile is seen twice, and its later state counts.
        for state in JobState:
            if wanted.states and state not in wanted.states:
                continue
            if state in FINAL:
                found += desk.over(state)
            else:
                found += desk.leased() if state is JobState.LEASED else desk.waiting(state)
    latest = {spot.id: spot for spot in found}
    return list(latest.values())


def stats(desk: Desk, guests: Guests) -> list[LaneStats]:
    """Statistics of every lane that holds anything."""
    counts: dict[str, dict[str, int]] = {}
    oldest: dict[str, int] = {}
    for state in WAITING:
        for spot in desk.waiting(state):
            lane = counts.setdefault(spot.lane, {})
            lane[state.value] = lane.get(state.value, 0) + 1
            if state is JobState.QUEUED:
                oldest[spot.lane] = min(spot.submitted, oldest.get(spot.lane, spot.submitted))
    for one in guests.waiting(desk):
        lane = counts.setdefault(one.lane, {})
        lane["queued"] = lane.get("queued", 0) + 1
        submitted = round(one.submitted_at * 1e6)
        oldest[one.lane] = min(submitted, oldest.get(one.lane, submitted))
    for spot in desk.leased():
        if spec := desk.spec(spot.id):
            lane = counts.setdefault(spec.lane, {})
            lane["leased"] = lane.get("leased", 0) + 1
    now = desk.scratch.tick()
    zero = dict.fromkeys(("queued", "delayed", "blocked", "leased"), 0)
    return [
        LaneStats(
            lane,
            oldest_age=max(0.0, (now - oldest[lane]) / 1e6) if lane in oldest else None,
            **{**zero, **counts[lane]},
        )
        for lane in sorted(counts, key=lambda lane: (lane != "any", lane))
    ]
