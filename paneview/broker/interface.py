"""The one interface to a queue; `paneview.broker` tells what holds for all who implement it.

The core is blocking. SQLite and files block anyway; a worker must renew its leases on a thread of its own, so that
no handler can starve it; and a blocking Redis client is quicker per call than an asyncio one. `AsyncBroker` carries
calls to threads for those who live on an event loop. One object may be used by many threads at once, and must not be
carried through a fork.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

from paneview.broker.documents import Documents
from paneview.broker.errors import UnknownJobError
from paneview.broker.model import (
    Cancelled,
    Claim,
    Event,
    EventPage,
    Finished,
    Hold,
    Job,
    JobFilter,
    Json,
    LaneStats,
    Leadership,
    Lease,
    NewJob,
    Outcome,
    Reaped,
    Result,
    Settings,
    Submitted,
)
from paneview.broker.staff import Worker, WorkerView
from paneview.broker.waiting import EVENTS, Bell, Bells, Topics, job_topic, owner_topic
from paneview.rules.jobs import JobState

QUARANTINE = "quarantine"  # the scope of its flags
LOOK_FOR_CANCEL = 5.0  # seconds between two renewals while waiting for a word, at most


Marks = Mapping[str, Mapping[str, Json]]
"""Who is quarantined, see `Registry.quarantined`."""


def mark_of(marks: Marks, name: str, host: str) -> Mapping[str, Json] | None:
    """The mark of a task or pane of this host: other hosts have tasks and panes of the same names."""
    found = (marks.get(key) for key in (f"{name}@{host}", name))
    return next((mark for mark in found if mark is not None and mark.get("host", host) == host), None)


def _marked(key: str, mark: Mapping[str, Json]) -> str:
    """The name that a mark is for."""
    return key.removesuffix(f"@{mark.get('host', '')}")


class Feed(ABC):
    """What happened, in order, without a gap until the oldest that is still kept."""

    @abstractmethod
    def read(self, after: str = "", limit: int = 1000) -> EventPage:
        """The events that follow a cursor; without one, from the oldest."""

    @abstractmethod
    def tail(self, limit: int = 20) -> EventPage:
        """The newest events."""

    @abstractmethod
    def note(
        self, kind: str, *, job: str = "", worker: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Add an event of one's own."""

    @abstractmethod
    def _bells(self) -> tuple[Bells, float]:
        """What to wait on, and the seconds between two looks."""

    def wait(self, after: str, timeout: float) -> EventPage:
        """Like `read`, but waits for the next event if there is none."""
        last = EventPage((), after)

        def look() -> tuple[bool, float | None]:
            nonlocal last
            last = self.read(after)
            return bool(last.events), None

        bells, every = self._bells()
        bells.wait((EVENTS,), look, timeout, every)
        return last


class Flags(ABC):
    """Small shared facts: one value per scope and name, the last one set counts."""

    @abstractmethod
    def set(self, scope: str, name: str, value: Mapping[str, Json], ttl: float | None = None) -> None:
        """Set it; after ``ttl`` seconds it is gone."""

    @abstractmethod
    def clear(self, scope: str, name: str) -> bool:
        """Remove it; whether it was there."""

    @abstractmethod
    def all(self, scope: str) -> dict[str, dict[str, Json]]:
        """Every name of the scope with its value."""


class Registry(ABC):
    """Who works here. A worker that left or died stays listed for a day."""

    def __init__(self, flags: Flags, feed: Feed) -> None:
        self._flags = flags
        self._feed = feed

    @abstractmethod
    def register(self, worker: Worker) -> None:
        """Enter a new incarnation."""

    @abstractmethod
    def beat(self, worker: str) -> bool:
        """A heartbeat; False: nobody of this id is registered, or it was taken for lost: register again."""

    @abstractmethod
    def leave(self, worker: str, reason: str = "") -> None:
        """It ended, or is known to have died. Jobs addressed to it go to its task or role.

        If it was silent for too long before that, and no reaper has told it yet, this does.
        """

    @abstractmethod
    def all(self, *, role: str = "", host: str = "", alive_only: bool = False) -> list[WorkerView]:
        """The workers, the latest first."""

    def quarantine(
        self, name: str, reason: str, *, host: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Mark a task or pane of a host, or of every host: it is not to be started again by itself."""
        where: dict[str, Json] = {"host": host} if host else {}
        key = f"{name}@{host}" if host else name
        self._flags.set(QUARANTINE, key, {"reason": reason, **where, **(detail or {})})
        self._feed.note("worker_quarantined", detail={"name": name, "reason": reason, **where})

    def unquarantine(self, name: str, *, host: str = "") -> bool:
        """Take the marks of this name away, or of NAME@HOST, or only this host's; whether there was one."""
        found = self._flags.all(QUARANTINE)
        keys = [
            key
            for key, mark in found.items()
            if name in (key, _marked(key, mark)) and host in ("", mark.get("host", host))
        ]
        there = [key for key in keys if self._flags.clear(QUARANTINE, key)]
        if there:
            self._feed.note("worker_unquarantined", detail={"name": name, **({"host": host} if host else {})})
        return bool(there)

    def quarantined(self) -> dict[str, dict[str, Json]]:
        """All marks by name; by NAME@HOST where several hosts have one of that name."""
        found = self._flags.all(QUARANTINE)
        names = {key: _marked(key, mark) for key, mark in found.items()}
        count = Counter(names.values())
        return {name if count[name] == 1 else key: found[key] for key, name in names.items()}


class Broker(ABC):
    """A queue. Every method raises `BrokerError`; `UnavailableError` where the broker does not answer for a while."""

    url: str
    """Where it is, for people: without password and options."""
    address: str
    """By which it can be opened again; whoever knows it gets in."""
    warnings: tuple[str, ...] = ()
    """What a person should know about this broker's set-up, and what `jobs` has passed over; one line each."""
    settings: Settings
    events: Feed
    flags: Flags
    documents: Documents
    workers: Registry

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = self.address = url
        self.settings = settings
        self.bells = Bells(self._bell)

    # Submitting

    def submit(self, job: NewJob) -> Submitted:
        """Durable once this returns. Raises `QueueFullError`."""
        return self.submit_many([job])[0]

    @abstractmethod
    def submit_many(self, jobs: Sequence[NewJob]) -> tuple[Submitted, ...]:
        """All of them or none; one may need (``after``) another one before it. Raises `QueueFullError`."""

    @abstractmethod
    def cancel(self, job: str, reason: str = "") -> Cancelled:
        """End a job that waits; tell the holder of a running one. Raises `UnknownJobError`."""

    # Working

    def claim(self, want: Claim, wait: float = 0.0) -> list[Lease]:
        """The next jobs of these lanes by priority, then age; waits up to ``wait`` seconds for one."""

        def look() -> tuple[list[Lease], float | None]:
            return self._claim(want)

        return self.bells.wait(want.lanes, look, wait, self.settings.look)

    @abstractmethod
    def _claim(self, want: Claim) -> tuple[list[Lease], float | None]:
        """`claim` without waiting; if it finds nothing, in how many seconds something is due, if that is known.

        What is due by then is made claimable first: delayed jobs, leases that ran out.
        """

    @abstractmethod
    def take(self, job: str, want: Claim) -> Lease | None:
        """This very job, whatever its lane, if it can be claimed. Raises `UnknownJobError`."""

    @abstractmethod
    def renew(self, leases: Sequence[Lease]) -> list[Hold]:
        """Hold on to the jobs for their leases' length from now; what each lease is worth."""

    def hold(self, leases: Sequence[Lease], timeout: float) -> list[Hold]:
        """Renew; wait until one is lost or to be cancelled, or ``timeout`` passes. For the renewing thread.

        All leases are of one owner. To be called again and again: every ``seconds / 3`` of the shortest lease.
        """
        holds: list[Hold] = []

        def look() -> tuple[bool, float | None]:
            nonlocal holds
            holds = self.renew(leases)
            return any(hold != "held" for hold in holds), None

        self.bells.wait([owner_topic(leases[0].owner)], look, timeout, LOOK_FOR_CANCEL)
        return holds

    @abstractmethod
    def finish(
        self, lease: Lease, outcome: Outcome, *, follow_ups: Sequence[NewJob] = (), claim: Claim | None = None
    ) -> Finished:
        """Bring a result; in the same step submit what follows from it and take the next jobs.

        The follow-ups are submitted if the job is done by this result: once, however often it is brought. What
        waited for this job (``after``) is queued, or cancelled if it died. A failure goes to a next attempt or to
        the dead letters.
        """

    @abstractmethod
    def release(self, lease: Lease, *, delay: float = 0.0, reason: str = "") -> bool:
        """Hand a job back, the attempt uncounted; not before ``delay`` seconds. False: it was not held any more."""

    @abstractmethod
    def release_owner(self, owner: str, reason: str) -> list[str]:
        """Its process is known to be dead: return all it held to the queue at once; their ids."""

    # Asking

    @abstractmethod
    def job(self, job: str) -> Job | None:
        """One job."""

    @abstractmethod
    def jobs(self, wanted: JobFilter) -> list[Job]:
        """Jobs, newest first."""

    @abstractmethod
    def result(self, job: str) -> Result | None:
        """What came of it; None while it is not over. Raises `UnknownJobError`."""

    def wait_result(self, job: str, timeout: float) -> Result | None:
        """Like `result`, but waits. Raises `UnknownJobError`."""

        def look() -> tuple[Result | None, float | None]:
            return self.result(job), None

        return self.bells.wait([job_topic(job)], look, timeout, self.settings.look)

    @abstractmethod
    def stats(self) -> list[LaneStats]:
        """Every lane that holds anything."""

    def check(self) -> None:
        """Raises `BrokerError` if somebody who came anew could not use it, although we still can."""
        return

    # Dead letters, and what is over

    def dead(self, limit: int = 100) -> list[Job]:
        """The dead letters, newest first, each with the errors of its attempts."""
        return self.jobs(JobFilter(states=frozenset({JobState.DEAD}), limit=limit))

    @abstractmethod
    def retry(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Queue dead letters again with all their attempts before them; None: all. The ids of those it did."""

    @abstractmethod
    def purge(self, jobs: Iterable[str] | None = None) -> int:
        """Forget dead letters; None: all. How many."""

    @abstractmethod
    def clean(self, older_than: float) -> int:
        """Forget jobs that were done or cancelled more than so many seconds ago. How many."""

    # Keeping order

    @abstractmethod
    def reap(self, leader: Leadership | None = None) -> Reaped:
        """Take back what silent workers held, queue what is due, forget what is old: a bounded step.

        Atomic in itself, so that any number may do it; a leader is only to save work. Raises `StaleLeaderError` if
        the one who calls is the leader no more.
        """

    @abstractmethod
    def lead(self, name: str, owner: str, ttl: float) -> Leadership | None:
        """Become or stay the leader for ``ttl`` seconds; None: another is."""

    @abstractmethod
    def resign(self, leader: Leadership) -> None:
        """Make room for the next one; nothing if another is already there."""

    # The object

    @abstractmethod
    def _bell(self, topics: Topics) -> Bell:
        """Hang up a bell for these topics."""

    def wake(self, *, for_good: bool = False) -> None:
        """End every wait of this object at once, from any thread or signal handler: it returns what it has.

        For good: later ones, too, return after their first look.
        """
        self.bells.call_off(for_good=for_good)

    def hurry(self, seconds: float) -> None:  # noqa: B027 - most have nothing to do
        """Let calls give up after so many seconds where others are in the way, if that is for us to say."""

    def close(self) -> None:
        """Give everything back. No call may be under way."""
        self.bells.close()

    def need(self, job: str) -> Job:
        """One job. Raises `UnknownJobError`."""
        found = self.job(job)
        if found is None:
            raise UnknownJobError(job)
        return found

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = ["Broker", "Event", "Feed", "Flags", "Hold", "Registry"]
