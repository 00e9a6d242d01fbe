"""The broker on a folder as a whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from paneview.broker.directory import ending, entry, keeping, leases, reading
from paneview.broker.directory.bell import FolderBell
from paneview.broker.directory.desk import Desk
from paneview.broker.directory.disk import Scratch, explained
from paneview.broker.directory.documents import DirectoryDocuments
from paneview.broker.directory.feed import DirectoryFeed
from paneview.broker.directory.foreign import Importer
from paneview.broker.directory.guests import Guests, guest
from paneview.broker.directory.layout import FOLDERS, Layout, Spot, short
from paneview.broker.directory.registry import DirectoryFlags, DirectoryRegistry
from paneview.broker.errors import BrokerError, NotOursError, UnavailableError, UnknownJobError
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
from paneview.broker.waiting import Topics
from paneview.config.paths import make_private, state_home
from paneview.rules.jobs import FINAL, JobState

TEND = 0.2  # seconds between two checks for due jobs while there is enough to do
REPAIR = 2.0  # seconds between two checks for what was left half done
SWEEP = 600.0


class DirectoryBroker(Broker):
    """See `Broker` and this package's docstring. Raises `BrokerError` if the folder cannot be used."""

    def __init__(self, root: Path, settings: Settings, *, interval: float) -> None:
        super().__init__(f"dir://{root.absolute()}", settings._replace(look=min(settings.look, interval)))
        self._layout = Layout(root.absolute())
        self._root = self._layout.root
        if not root.absolute().parent.is_dir():
            raise BrokerError(f"the folder {root.parent} is not there: is the share mounted?")
        note = state_home() / "shares" / short(self._root)
        if os.path.exists(note) and not os.path.isdir(self._layout.own):
            # Most likely the empty folder at which a share is mounted: what a new queue there got would be lost.
            raise UnavailableError(
                f"the shared folder {self._root} held a queue, and holds none now: is it mounted? "
                f"To begin a new one, make the folder {self._layout.own}"
            )
        with explained(self._root):
            os.makedirs(self._layout.own, exist_ok=True)
            for folder in FOLDERS:
                os.makedirs(f"{self._layout.own}/{folder}", exist_ok=True)
            for folder in (self._layout.tasks, self._layout.results, self._layout.logs):
                os.makedirs(folder, exist_ok=True)
        with suppress(OSError):  # then it is only not known next time that there was a queue
            make_private(note.parent)
            note.touch()
        feed = DirectoryFeed(self._root, self.bells, self.settings.look)
        self._desk = Desk(self._layout, Scratch(self._layout.own), feed, self.settings)
        self._backlog = leases.Backlog(self._desk)
        self._importer = Importer()
        self._guests = Guests()
        self._next_tending = self._next_repair = self._next_sweep = 0.0
        self.events = feed
        self.flags = flags = DirectoryFlags(self._desk)
        self.documents = DirectoryDocuments(self._desk)
        self.workers = self._registry = DirectoryRegistry(self._desk, flags)

    def submit_many(self, jobs: Sequence[NewJob]) -> tuple[Submitted, ...]:
        """Submit all of them or none."""
        with explained(self._root):
            return entry.submit(self._desk, jobs) if jobs else ()

    def cancel(self, job: str, reason: str = "") -> Cancelled:
        """Cancel a waiting job, or ask the holder of a running one to end it."""
        reason = as_text(reason) or "cancelled"
        with explained(self._root):
            while True:
                spot = self._found(job)
                if spot is None:
                    return self._not_ours(job)
                if spot.state in FINAL:
                    return "over"
                if spot.state is not JobState.LEASED:
                    result = ending.cancelled(self._desk, spot, reason)
                    if ending.end(self._desk, spot, JobState.CANCELLED, result):
                        return "cancelled"
                    continue
                keeping.wish_cancelled(self._desk, job, reason)
                if os.path.exists(self._layout.path(spot)):
                    self._desk.feed.tell("cancel_requested", job, spot.owner, {"reason": reason})
                    return "requested"

    def _claim(self, want: Claim) -> tuple[list[Lease], float | None]:
        with explained(self._root):
            if time.monotonic() > self._next_tending:
                self._tend()
            found = leases.claim(self._desk, self._backlog, want)
            if len(found) == want.n:
                return found, None
            due = self._tend()
            more = want._replace(n=want.n - len(found))
            found += leases.claim(self._desk, self._backlog, more)
            if not found:  # nothing else to do
                self._repair()
            return found, due

    def _tend(self) -> float | None:
        """Queue jobs that are due or come from claude-queue's scripts; returns the seconds until something is due."""
        self._next_tending = time.monotonic() + TEND
        self._take_over()
        due = keeping.promote(self._desk)
        _, until = keeping.expire(self._desk)
        return min((each for each in (due, until) if each is not None), default=None)

    def _repair(self) -> None:
        """Complete what killed processes left half done, once every `REPAIR` seconds."""
        if time.monotonic() > self._next_repair:
            keeping.repair(self._desk)
            self._next_repair = time.monotonic() + REPAIR

    def _take_over(self) -> None:
        """Submit the tasks of claude-queue's scripts, ignoring the depth limit; set aside those that are invalid."""
        unlimited = Desk(
            self._layout, self._desk.scratch, self._desk.feed, self.settings._replace(max_depth=None)
        )
        for path, job, created in self._importer.new_jobs(self._desk):
            try:
                entry.submit(unlimited, [job], created)
            except BrokerError as error:
                self._desk.set_aside(path, str(error))

    def take(self, job: str, want: Claim) -> Lease | None:
        """Claim this job."""
        with explained(self._root):
            self._found(job)
            return leases.take_by_id(self._desk, job, want)

    def _not_ours(self, job: str) -> Cancelled:
        """What comes of cancelling a job that is none of ours."""
        theirs = guest(self._desk, job)
        if theirs is None:
            raise UnknownJobError(job)
        if theirs.state in FINAL:
            return "over"
        raise NotOursError(job)

    def _found(self, job: str) -> Spot | None:
        """Where a job is; a task of claude-queue's scripts becomes one."""
        spot = self._desk.find(job)
        if spot is None and guest(self._desk, job):
            self._take_over()
            spot = self._desk.find(job)
        return spot

    def renew(self, leases_: Sequence[Lease]) -> list[Hold]:
        """Extend the leases."""
        with explained(self._root):
            return [leases.renew(self._desk, lease) for lease in leases_]

    def finish(
        self, lease: Lease, outcome: Outcome, *, follow_ups: Sequence[NewJob] = (), claim: Claim | None = None
    ) -> Finished:
        """Deliver a result."""
        with explained(self._root):
            told = leases.finish(self._desk, lease, outcome, follow_ups)
        return told._replace(leases=tuple(self._claim(claim)[0])) if claim else told

    def release(self, lease: Lease, *, delay: float = 0.0, reason: str = "") -> bool:
        """Hand a job back."""
        with explained(self._root):
            return leases.release(self._desk, lease, delay, reason)

    def release_owner(self, owner: str, reason: str) -> list[str]:
        """Return all jobs that a dead process held to the queue."""
        with explained(self._root):
            held = [spot for spot in self._desk.leased() if spot.owner == owner]
            return [spot.id for spot in held if ending.lose(self._desk, spot, reason, "job_lost")]

    def job(self, job: str) -> Job | None:
        """A job by id; None if there is none."""
        with explained(self._root):
            return reading.job(self._desk, job)

    def jobs(self, wanted: JobFilter) -> list[Job]:
        """The jobs that match, newest first."""
        with explained(self._root):
            return reading.jobs(self._desk, wanted, self._guests)

    def result(self, job: str) -> Result | None:
        """The result of a job."""
        with explained(self._root):
            return reading.result(self._desk, job)

    def stats(self) -> list[LaneStats]:
        """Statistics of every lane that holds anything."""
        with explained(self._root):
            return reading.stats(self._desk, self._guests)

    def retry(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Queue dead letters again."""
        with explained(self._root):
            return keeping.retry(self._desk, jobs)

    def purge(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Delete dead letters."""
        with explained(self._root):
            return keeping.purge(self._desk, jobs)

    def clean(self, older_than: float) -> int:
        """Delete old finished jobs."""
        with explained(self._root):
            return keeping.clean(self._desk, older_than)

    def reap(self, leader: Leadership | None = None) -> Reaped:
        """Take back the jobs of silent workers, and complete what killed processes left half done."""
        with explained(self._root):
            if leader is not None:
                keeping.check_leader(self._desk, leader)
            self._take_over()
            keeping.promote(self._desk)
            expired, _ = keeping.expire(self._desk)
            lost = self._registry.lose()
            readdressed = self._registry.settle_estates()
            self._repair()
            if time.monotonic() > self._next_sweep:
                self._next_sweep = time.monotonic() + SWEEP
                keeping.sweep(self._desk)
        return Reaped(tuple(expired), readdressed, tuple(lost))

    def lead(self, name: str, owner: str, ttl: float) -> Leadership | None:
        """Become or stay the leader."""
        with explained(self._root):
            return keeping.lead(self._desk, name, owner, ttl)

    def resign(self, leader: Leadership) -> None:
        """Give up the leadership."""
        with explained(self._root):
            keeping.resign(self._desk, leader)

    def _bell(self, topics: Topics) -> FolderBell:
        with explained(self._root):
            return FolderBell(self._layout, topics)

    def close(self) -> None:
        """Close the bells and remove the clock's probe file."""
        super().close()
        with suppress(UnavailableError), explained(self._root):  # another process removes it some day
            self._desk.scratch.close()
