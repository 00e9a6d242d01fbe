"""The reaper's round, leaders, dead letters, and the removal of what is old."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

from paneview.broker.errors import StaleLeaderError
from paneview.broker.model import Leadership, Reaped, Settings
from paneview.broker.sqlite.beats import Beats
from paneview.broker.sqlite.database import Database, Step
from paneview.broker.sqlite.feed import note
from paneview.broker.sqlite.leases import AT_ONCE, expire, promote
from paneview.broker.staff import Registration
from paneview.broker.targets import Target

FORGET_WORKERS = 86_400.0  # seconds after they left
FEW = 200  # jobs or events in one transaction


def reap(database: Database, beats: Beats, settings: Settings, leader: Leadership | None) -> Reaped:
    """See `Broker.reap`."""
    with database.write() as step:
        if leader is not None:
            check_leader(step, leader)
        promoted = promote(step)
        expired = expire(step)
        lost = _lose_workers(step, beats)
        readdressed = sum(_readdress(step, worker) for worker in _absent(step))
        for (worker,) in step.rows(
            "DELETE FROM workers WHERE gone < ? RETURNING id", step.now - FORGET_WORKERS
        ):
            beats.forget(worker)
        step.sql("DELETE FROM flags WHERE until <= ?", (step.now,))
        forgotten = step.sql(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= "
            "(SELECT max(id) FROM events) - ? ORDER BY id LIMIT ?)",
            (settings.keep_events, FEW),
        ).rowcount
    more = AT_ONCE in (promoted, len(expired)) or forgotten == FEW
    return Reaped(tuple(expired), readdressed, tuple(lost), more)


def _lose_workers(step: Step, beats: Beats) -> list[str]:
    lost = []
    for worker, ttl in step.rows(
        "SELECT id, ttl FROM workers WHERE gone IS NULL AND beat + ttl <= ?", step.now
    ):
        beat = beats.last(worker)
        if beat + ttl > step.now:
            # No need to check again for a while.
            step.sql("UPDATE workers SET beat = ? WHERE id = ?", (beat, worker))
            continue
        step.sql("UPDATE workers SET gone = ? WHERE id = ?", (step.now, worker))
        note(step, "heartbeat_missed", worker=worker, detail={"ttl": ttl})
        lost.append(worker)
    for worker in lost:
        beats.forget(worker)
    return lost


# Each state has its own index; a query for all three at once would make SQLite read every job for every worker.
_WAITING = ("queued", "delayed", "blocked")
_WAITS = " OR ".join(
    f"EXISTS (SELECT 1 FROM jobs WHERE lane = 'w:' || workers.id AND state = '{state}')"  # noqa: S608
    for state in _WAITING
)


def _absent(step: Step) -> list[Registration]:
    """The workers that left while jobs still wait for them."""
    rows = step.rows(f"SELECT info FROM workers WHERE gone IS NOT NULL AND ({_WAITS})")  # noqa: S608
    return [Registration.from_json(json.loads(info)) for (info,) in rows]


def _readdress(step: Step, worker: Registration) -> int:
    heir = worker.heirs()[0]
    jobs = [
        row
        for state in _WAITING
        for row in step.rows(
            f"UPDATE jobs SET lane = ? WHERE lane = ? AND state = '{state}' RETURNING id",  # noqa: S608
            heir,
            Target(worker=worker.id).lane,
        )
    ]
    for (job,) in jobs:
        note(step, "job_readdressed", job, worker.id, {"lane": heir})
    step.topics.add(heir)
    return len(jobs)


def lead(step: Step, name: str, owner: str, ttl: float) -> Leadership | None:
    """See `Broker.lead`."""
    row = step.one("SELECT owner, epoch, until FROM leaders WHERE name = ?", name)
    holder, epoch, until = row or ("", 0, 0.0)
    if holder != owner or until <= step.now:
        if holder != owner and until > step.now:
            return None
        epoch += 1
        note(step, "leader_changed", worker=owner, detail={"name": name, "epoch": epoch})
    step.sql("REPLACE INTO leaders VALUES (?, ?, ?, ?)", (name, owner, epoch, step.now + ttl))
    return Leadership(name, owner, epoch)


def resign(step: Step, leader: Leadership) -> None:
    """See `Broker.resign`."""
    step.sql("UPDATE leaders SET until = 0 WHERE name = ? AND epoch = ?", (leader.name, leader.epoch))


def check_leader(step: Step, leader: Leadership) -> None:
    """Raise `StaleLeaderError` if another leader has replaced this one."""
    row = step.one("SELECT epoch FROM leaders WHERE name = ?", leader.name)
    if row is None or row[0] != leader.epoch:
        raise StaleLeaderError(leader)


def retry(database: Database, jobs: Iterable[str] | None) -> list[str]:
    """See `Broker.retry`."""
    done = []
    for some in _few(database, jobs):
        with database.write() as step:
            for job in some:
                row = step.one(
                    "UPDATE jobs SET state = 'queued', attempts = 0, result = NULL, ended_at = NULL, cancel = NULL "
                    "WHERE id = ? AND state = 'dead' RETURNING lane",
                    job,
                )
                if row:
                    note(step, "dead_retried", job)
                    step.topics.add(row[0])
                    done.append(job)
    return done


def purge(database: Database, jobs: Iterable[str] | None) -> list[str]:
    """See `Broker.purge`."""
    done = []
    for some in _few(database, jobs):
        with database.write() as step:
            for job in some:
                if step.sql("DELETE FROM jobs WHERE state = 'dead' AND id = ?", (job,)).rowcount:
                    note(step, "dead_purged", job)
                    done.append(job)
    return done


def _few(database: Database, jobs: Iterable[str] | None) -> Iterator[list[str]]:
    """These dead letters (None: all), a few at a time, to hold the gate only briefly."""
    if jobs is None:
        jobs = [job for (job,) in database.rows("SELECT id FROM jobs WHERE state = 'dead' ORDER BY seq")]
    ids = list(jobs)
    return (ids[start : start + FEW] for start in range(0, len(ids), FEW))


_OLD = "state IN ('done', 'cancelled') AND ended_at <= ?"


def clean(database: Database, older_than: float) -> int:
    """See `Broker.clean`: in small steps, to hold the gate only briefly, and only where something is old."""
    before = time.time() - older_than
    total = last = 0
    while page := database.rows(
        f"SELECT seq, {_OLD} FROM jobs WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - our own words
        before,
        last,
        FEW,
    ):
        if any(is_old for _, is_old in page):
            with database.write() as step:
                total += step.sql(
                    f"DELETE FROM jobs WHERE seq BETWEEN ? AND ? AND {_OLD}",  # noqa: S608 - our own words
                    (page[0][0], page[-1][0], before),
                ).rowcount
        last = page[-1][0]
    return total
