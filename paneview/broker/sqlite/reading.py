"""Queries. None of them writes or waits for a writer."""

from __future__ import annotations

import time

from paneview.broker.errors import UnknownJobError
from paneview.broker.model import Job, JobFilter, LaneStats, Result
from paneview.broker.sqlite.database import Database
from paneview.broker.sqlite.rows import RESULT, SELECTED, to_job, to_result
from paneview.broker.targets import Target
from paneview.rules.jobs import FINAL, JobState

PAGE = 200


def job(database: Database, job_id: str) -> Job | None:
    """A job by id; None if there is none."""
    row = database.one(f"SELECT {SELECTED} FROM jobs WHERE id = ?", job_id)  # noqa: S608 - our own names
    return to_job(row) if row else None


def result(database: Database, job_id: str) -> Result | None:
    """The result of a job; None while it is not over. Raises `UnknownJobError`."""
    row = database.one(f"SELECT {RESULT} FROM jobs WHERE id = ?", job_id)  # noqa: S608 - our own names
    if row is None:
        raise UnknownJobError(job_id)
    return to_result(*row)


def jobs(database: Database, wanted: JobFilter) -> list[Job]:
    """The jobs that match, newest first: by the index of a state or group; done jobs by scanning back through all."""
    if wanted.group:
        sources: list[tuple[str, tuple[str, ...]]] = [("grp = ? AND grp <> ''", (wanted.group,))]
    elif wanted.states:
        # Literals, because the planner uses a partial index only if it can see that its condition holds.
        sources = [(f"state = '{state.value}'", ()) for state in wanted.states]
    else:
        sources = [("1", ())]
    found: list[tuple[int, Job]] = []
    for condition, values in sources:
        found += _newest(database, condition, values, wanted)
    found.sort(key=lambda pair: -pair[0])
    return [each for _, each in found[: wanted.limit]]


def _newest(
    database: Database, condition: str, values: tuple[str, ...], wanted: JobFilter
) -> list[tuple[int, Job]]:
    found: list[tuple[int, Job]] = []
    before = 1 << 62
    while len(found) < wanted.limit:
        rows = database.rows(
            f"SELECT seq, {SELECTED} FROM jobs WHERE {condition} AND seq < ? ORDER BY seq DESC LIMIT ?",  # noqa: S608
            *values,
            before,
            PAGE,
        )
        candidates = [(row[0], to_job(row[1:])) for row in rows]
        found += [pair for pair in candidates if wanted.accepts(pair[1])]
        if len(rows) < PAGE:
            break
        before = rows[-1][0]
    return found[: wanted.limit]


def stats(database: Database) -> list[LaneStats]:
    """Statistics of every lane that holds anything."""
    now = time.time()
    counts: dict[str, dict[str, int]] = {}
    oldest: dict[str, float] = {}
    for state in (state for state in JobState if state not in FINAL):
        extra = ", min(submitted_at)" if state is JobState.QUEUED else ", NULL"
        for lane, number, since in database.rows(
            f"SELECT lane, count(*){extra} FROM jobs WHERE state = '{state.value}' GROUP BY lane"  # noqa: S608
        ):
            counts.setdefault(lane, {})[state.value] = number
            if since is not None:
                oldest[lane] = max(0.0, now - since)
    zero = dict.fromkeys(("queued", "delayed", "blocked", "leased"), 0)
    return [
        LaneStats(lane, oldest_age=oldest.get(lane), **{**zero, **counts[lane]})
        for lane in sorted(counts, key=lambda lane: (Target.of(lane) != Target(), lane))
    ]
