"""The embedded broker as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from paneview.broker.boot import since_boot
from paneview.broker.errors import UnknownJobError
from paneview.broker.interface import Broker
from paneview.broker.model import (
    Cancelled,
    Claim,
    Finished,
    Hold,
    Job,
    JobFilter,
    LaneStats,
    Leadership,
    Lease,
    NewJob,
    Outcome,
    Reaped,
    Result,
    Settings,
    Submitted,
    as_text,
)
from paneview.broker.sqlite import keeping, leases, reading
from paneview.broker.sqlite.beats import Beats
from paneview.broker.sqlite.bell import SocketBell
from paneview.broker.sqlite.database import Database
from paneview.broker.sqlite.documents import SqliteDocuments
from paneview.broker.sqlite.feed import SqliteFeed, note
from paneview.broker.sqlite.finish import follow, settle
from paneview.broker.sqlite.registry import SqliteFlags, SqliteRegistry
from paneview.broker.sqlite.rows import held_result, to_lease
from paneview.broker.sqlite.submit import end_cancelled, insert
from paneview.broker.waiting import Topics, owner_topic
from paneview.rules.jobs import JobState, Verdict


class SqliteBroker(Broker):
    """See `Broker` and this package's docstring. Raises `BrokerError` if the file cannot be used."""

    def __init__(self, path: Path, settings: Settings, *, durable: bool = False) -> None:
        super().__init__(f"sqlite://{path.absolute()}", settings)
        self._database = Database(path, durable=durable)
        self.events = SqliteFeed(self._database, self.bells, settings.look)
        self.flags = flags = SqliteFlags(self._database)
        self.documents = SqliteDocuments(self._database)
        self._beats = Beats(path)
        self.workers = SqliteRegistry(self._database, flags, self.events, self._beats)

    def submit_many(self, jobs: Sequence[NewJob]) -> tuple[Submitted, ...]:
        """Submit all of them or none."""
        with self._database.write() as step:
            return tuple(insert(step, job, self.settings, limited=True) for job in jobs)

    def cancel(self, job: str, reason: str = "") -> Cancelled:
        """Cancel a waiting job, or ask the holder of a running one to end it."""
        reason = as_text(reason) or "cancelled"
        with self._database.write() as step:
            row = step.one("SELECT state, owner FROM jobs WHERE id = ?", job)
            if row is None:
                raise UnknownJobError(job)
            if JobState(row[0]).final:
                return "over"
            if row[0] != JobState.LEASED:
                end_cancelled(step, job, reason)
                return "cancelled"
            step.sql("UPDATE jobs SET cancel = coalesce(cancel, ?) WHERE id = ?", (reason, job))
            note(step, "cancel_requested", job, row[1], {"reason": reason})
            step.topics.add(owner_topic(row[1]))
            return "requested"

    def _claim(self, want: Claim) -> tuple[list[Lease], float | None]:
        worth_it, due = leases.look(self._database, want, since_boot())
        if not worth_it:
            return [], due
        with self._database.write() as step:
            rows = leases.claim(step, want, self.settings.lease, leases.survey(step))
        return [to_lease(row) for row in rows], None

    def take(self, job: str, want: Claim) -> Lease | None:
        """Claim this job."""
        with self._database.write() as step:
            row = leases.take(step, job, want, self.settings.lease)
        return None if row is None else to_lease(row)

    def renew(self, leases_: Sequence[Lease]) -> list[Hold]:
        """Extend the leases."""
        with self._database.write() as step:
            return [leases.renew(step, lease) for lease in leases_]

    def finish(
        self, lease: Lease, outcome: Outcome, *, follow_ups: Sequence[NewJob] = (), claim: Claim | None = None
    ) -> Finished:
        """Deliver a result."""
        text = held_result(outcome)
        submitted: tuple[Submitted, ...] = ()
        with self._database.write() as step:
            found = leases.survey(step, lease.id)
            verdict, state = settle(step, lease, outcome, text, self.settings, needed=found.needed)
            if follow_ups and verdict is Verdict.ACCEPTED and state is JobState.DONE:
                submitted = follow(step, follow_ups, self.settings)
            rows = leases.claim(step, claim, self.settings.lease, found) if claim else []
        return Finished(verdict, state, submitted, tuple([to_lease(row) for row in rows]))

    def release(self, lease: Lease, *, delay: float = 0.0, reason: str = "") -> bool:
        """Hand a job back."""
        with self._database.write() as step:
            return leases.release(step, lease, delay, reason)

    def release_owner(self, owner: str, reason: str) -> list[str]:
        """Return all jobs that a dead process held to the queue."""
        with self._database.write() as step:
            jobs = [
                job for (job,) in step.rows("SELECT id FROM jobs WHERE state = 'leased' AND owner = ?", owner)
            ]
            for job in jobs:
                leases.lose(step, job, reason, "job_lost")
            return jobs

    def job(self, job: str) -> Job | None:
        """One job."""
        return reading.job(self._database, job)

    def jobs(self, wanted: JobFilter) -> list[Job]:
        """Jobs, newest first."""
        return reading.jobs(self._database, wanted)

    def result(self, job: str) -> Result | None:
        """The result of a job."""
        return reading.result(self._database, job)

    def stats(self) -> list[LaneStats]:
        """Statistics of every lane that holds anything."""
        return reading.stats(self._database)

    def check(self) -> None:
        """Raise `BrokerError` if the file is no longer a queue."""
        self._database.check()

    def retry(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Queue dead letters again."""
        return keeping.retry(self._database, jobs)

    def purge(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Delete dead letters."""
        return keeping.purge(self._database, jobs)

    def clean(self, older_than: float) -> int:
        """Delete old finished jobs."""
        return keeping.clean(self._database, older_than)

    def reap(self, leader: Leadership | None = None) -> Reaped:
        """Take back the jobs of silent workers."""
        return keeping.reap(self._database, self._beats, self.settings, leader)

    def lead(self, name: str, owner: str, ttl: float) -> Leadership | None:
        """Become or stay the leader."""
        with self._database.write() as step:
            return keeping.lead(step, name, owner, ttl)

    def resign(self, leader: Leadership) -> None:
        """Give up the leadership."""
        with self._database.write() as step:
            keeping.resign(step, leader)

    def _bell(self, topics: Topics) -> SocketBell:
        return SocketBell(self._database, topics)

    def hurry(self, seconds: float) -> None:
        """Give up sooner if another process holds the queue."""
        self._database.patience = min(self._database.patience, seconds)

    def close(self) -> None:
        """Close the database and the bells."""
        super().close()
        self._database.close()
