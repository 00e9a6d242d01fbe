"""Queries. Long lists are read in pages; the key space is never scanned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from paneview.broker.errors import DamagedJobError, UnknownJobError
from paneview.broker.model import Job, JobFilter, LaneStats, Result
from paneview.broker.redis.codec import to_job
from paneview.broker.redis.link import Link
from paneview.rules.jobs import FINAL, JobState

PAGE = 100


def _hashes(link: Link, ids: Sequence[str]) -> list[dict[str, str]]:
    def ask(_again: bool) -> list[dict[str, str]]:
        client: Any = link.client
        with client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(f"{link.base}job:{job_id}")
            return list(pipe.execute())

    hashes = zip(ids, link.patiently(ask), strict=True)
    return [{**found, "id": job_id} for job_id, found in hashes if found]


def job(link: Link, job_id: str) -> Job | None:
    """A job by id; None if there is none."""
    found = _hashes(link, [job_id])
    return to_job(found[0]) if found else None


def result(link: Link, job_id: str) -> Result | None:
    """The result of a job; None while it is not over. Raises `UnknownJobError`."""
    found = _hashes(link, [job_id])
    if not found:
        raise UnknownJobError(job_id)
    return to_job(found[0]).result


def jobs(link: Link, wanted: JobFilter) -> tuple[list[Job], list[str]]:
    """The jobs that match, newest first, and messages about those that were skipped as unreadable."""
    found: list[Job] = []
    damaged: list[str] = []
    for hashes in _candidates(link, wanted):
        for hash_ in hashes:
            try:
                each = to_job(hash_)
            except DamagedJobError as error:
                damaged.append(str(error))
            else:
                found += [each] if wanted.accepts(each) else []
        if len(found) >= wanted.limit:
            break
    return found[: wanted.limit], damaged


def _candidates(link: Link, wanted: JobFilter) -> Iterator[list[dict[str, str]]]:
    """Pages of jobs, newest first: by group, by the sets of a few states, or all."""
    if wanted.group:
        yield from _pages(link, [f"group:{wanted.group}"])
    elif wanted.states and wanted.states <= FINAL:
        yield from _pages(link, [f"over:{state.value}" for state in wanted.states])
    elif wanted.states and not wanted.states & FINAL:
        ids = sorted({each for state in wanted.states for each in _unfinished(link, state)})
        hashes = [
            found for start in range(0, len(ids), PAGE) for found in _hashes(link, ids[start : start + PAGE])
        ]
        hashes.sort(key=_seq, reverse=True)
        yield hashes
    else:
        yield from _pages(link, ["jobs"])


def dead(link: Link) -> list[str]:
    """The ids of all dead letters, oldest first."""
    client: Any = link.client
    ids: list[str] = link.patiently(lambda _again: client.zrange(f"{link.base}over:dead", 0, -1))
    return ids


def _seq(hash_: dict[str, str]) -> int:
    seq = hash_.get("seq", "")
    return int(seq) if seq.isdecimal() else 0


def _pages(link: Link, names: Sequence[str]) -> Iterator[list[dict[str, str]]]:
    """Pages of jobs from sets sorted by sequence number, merged from the newest on."""
    client: Any = link.client
    before: float | str = "+inf"
    while True:
        heads: list[tuple[str, float]] = []
        for name in names:

            def ask(_again: bool, key: str = f"{link.base}{name}", until: float | str = before) -> Any:
                return client.zrevrangebyscore(key, until, "-inf", start=0, num=PAGE, withscores=True)

            heads += link.patiently(ask)
        heads.sort(key=lambda pair: -pair[1])
        page = heads[:PAGE]
        if not page:
            return
        yield _hashes(link, [job_id for job_id, _ in page])
        before = f"({page[-1][1]:.0f}"


def _unfinished(link: Link, state: JobState) -> Iterable[str]:
    client: Any = link.client
    base = link.base

    def ask(_again: bool) -> list[str]:
        match state:
            case JobState.QUEUED:
                lanes = client.smembers(f"{base}lanes")
                return [each for lane in lanes for each in client.zrange(f"{base}ready:{lane}", 0, -1)]
            case JobState.BLOCKED:
                return list(client.smembers(f"{base}blocked"))
            case JobState.DELAYED:
                return list(client.zrange(f"{base}delayed", 0, -1))
            case _:
                return list(client.zrange(f"{base}leases", 0, -1))

    found: list[str] = link.patiently(ask)
    return found


def stats(link: Link) -> list[LaneStats]:
    """Statistics of every lane that holds anything."""
    told = link.call("stats")
    lanes = [
        LaneStats(lane, queued, delayed, blocked, leased, oldest / 1000 if oldest >= 0 else None)
        for lane, queued, delayed, blocked, leased, oldest in told
    ]
    return sorted(lanes, key=lambda each: (each.lane != "any", each.lane))
