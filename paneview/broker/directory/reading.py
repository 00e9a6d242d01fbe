"""Queries."""

from __future__ import annotations

from paneview.broker.directory import ending
from paneview.broker.directory.desk import WAITING, Desk
from paneview.broker.directory.disk import names
from paneview.broker.directory.foreign import read_result
from paneview.broker.directory.layout import Spot, short
from paneview.broker.errors import UnknownJobError
from paneview.broker.model import Job, JobFilter, LaneStats, Result
from paneview.rules.jobs import FINAL, JobState


def job(desk: Desk, job_id: str) -> Job | None:
    """A job by id; None if there is none."""
    spot = desk.find(job_id)
    return _at(desk, spot) if spot else None


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
    if spot is None:
        raise UnknownJobError(job_id)
    return _result_of(desk, spot) if spot.state in FINAL else None


def jobs(desk: Desk, wanted: JobFilter) -> list[Job]:
    """The jobs that match, newest first."""
    found: list[Job] = []
    for spot in _candidates(desk, wanted):
        each = _at(desk, spot)
        if each is not None and wanted.accepts(each):
            found.append(each)
            if len(found) >= wanted.limit:
                break
    return found


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
    return sorted(latest.values(), key=lambda spot: -spot.submitted)


def stats(desk: Desk) -> list[LaneStats]:
    """Statistics of every lane that holds anything."""
    counts: dict[str, dict[str, int]] = {}
    oldest: dict[str, int] = {}
    for state in WAITING:
        for spot in desk.waiting(state):
            lane = counts.setdefault(spot.lane, {})
            lane[state.value] = lane.get(state.value, 0) + 1
            if state is JobState.QUEUED:
                oldest[spot.lane] = min(spot.submitted, oldest.get(spot.lane, spot.submitted))
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
