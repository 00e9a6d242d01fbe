"""The interface to a queue; `paneview.broker` describes what holds for all implementations.

The core is blocking. SQLite and files block anyway; a worker must renew its leases on a thread of its own, so that no
handler can starve it; and a blocking Redis client is faster per call than an asyncio one. `AsyncBroker` runs the calls
on threads for event loops. A broker object is thread-safe but must not be used across a fork.
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
from paneview.broker.staff import Registration, WorkerView
from paneview.broker.waiting import EVENTS, Bell, Bells, Topics, job_topic, owner_topic
from paneview.rules.jobs import JobState

QUARANTINE = "quarantine"  # the scope of its flags
LOOK_FOR_CANCEL = 5.0  # seconds at most between two renewals in `Broker.hold`
HURRY = 2.0  # seconds, see `Broker.hurry`


Marks = Mapping[str, Mapping[str, Json]]
"""Quarantine marks, see `Registry.quarantined`."""


def mark_of(marks: Marks, name: str, host: str) -> Mapping[str, Json] | None:
    """The quarantine mark of a task or pane on this host; other hosts may have tasks and panes of the same name."""
    found = (marks.get(key) for key in (f"{name}@{host}", name))
    return next((mark for mark in found if mark is not None and mark.get("host", host) == host), None)


def _marked(key: str, mark: Mapping[str, Json]) -> str:
    """The name of the task or pane that a mark applies to."""
    return key.removesuffix(f"@{mark.get('host', '')}")


class Feed(ABC):
    """Events in order, without gaps, back to the oldest that is still kept."""

    @abstractmethod
    def read(self, after: str = "", limit: int = 1000) -> EventPage:
        """The events after a cursor; without one, from the oldest."""

    @abstractmethod
    def tail(self, limit: int = 20) -> EventPage:
        """The newest events."""

    @abstractmethod
    def note(
        self, kind: str, *, job: str = "", worker: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Add an event."""

    @abstractmethod
    def _bells(self) -> tuple[Bells, float]:
        """The bells to wait on, and the seconds between two looks."""

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
    """Small shared facts: one value per scope and name; the last write wins."""

    @abstractmethod
    def set(self, scope: str, name: str, value: Mapping[str, Json], ttl: float | None = None) -> None:
        """Set a flag; with ``ttl``, it is gone after so many seconds."""

    @abstractmethod
    def clear(self, scope: str, name: str) -> bool:
        """Remove a flag; returns whether it was set."""

    @abstractmethod
    def all(self, scope: str) -> dict[str, dict[str, Json]]:
        """Every name of the scope with its value."""


class Registry(ABC):
    """The registered workers. A worker that left or died stays listed for a day."""

    def __init__(self, flags: Flags, feed: Feed) -> None:
        self._flags = flags
        self._feed = feed

    @abstractmethod
    def register(self, worker: Registration) -> None:
        """Register a new incarnation of a worker."""

    @abstractmethod
    def beat(self, worker: str) -> bool:
        """Record a heartbeat; False if no such worker is registered, or it was considered lost: register again."""

    @abstractmethod
    def leave(self, worker: str, reason: str = "") -> None:
        """Record that a worker ended, or is known to have died. Jobs addressed to it go to its task or role.

        If it was silent for too long before and no reaper has reported that yet, this adds the event.
        """

    @abstractmethod
    def all(self, *, role: str = "", host: str = "", alive_only: bool = False) -> list[WorkerView]:
        """The workers that match, latest first."""

    def quarantine(
        self, name: str, reason: str, *, host: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Mark a task or pane, of one host or of every host (""): it must not be started again automatically."""
        where: dict[str, Json] = {"host": host} if host else {}
        key = f"{name}@{host}" if host else name
        self._flags.set(QUARANTINE, key, {"reason": reason, **where, **(detail or {})})
        self._feed.note("worker_quarantined", detail={"name": name, "reason": reason, **where})

    def unquarantine(self, name: str, *, host: str = "") -> bool:
        """Remove the marks of NAME or NAME@HOST, or only those of ``host``; returns whether there was any."""
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
        """All marks by name, or by NAME@HOST where several hosts have a mark of that name."""
        found = self._flags.all(QUARANTINE)
        names = {key: _marked(key, mark) for key, mark in found.items()}
        count = Counter(names.values())
        return {name if count[name] == 1 else key: found[key] for key, name in names.items()}


class Broker(ABC):
    """A queue. Every method may raise `BrokerError`, and `UnavailableError` if the broker does not answer."""

    url: str
    """Its location, for people: without password and options."""
    address: str
    """The URL to open it again, credentials included."""
    warnings: tuple[str, ...] = ()
    """What the user should know about this broker's set-up, and what `jobs` has skipped; one line each."""
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
        """Submit a job; it is durable once this returns. Raises `QueueFullError`."""
        return self.submit_many([job])[0]

    @abstractmethod
    def submit_many(self, jobs: Sequence[NewJob]) -> tuple[Submitted, ...]:
        """Submit all jobs or none; a job may need (``after``) an earlier one. Raises `QueueFullError`."""

    @abstractmethod
    def cancel(self, job: str, reason: str = "") -> Cancelled:
        """Cancel a waiting job, or ask the holder of a running one to end it. Raises `UnknownJobError`."""

    # Working

    def claim(self, want: Claim, wait: float = 0.0) -> list[Lease]:
        """The next jobs of these lanes by priority, then age; waits up to ``wait`` seconds for one."""

        def look() -> tuple[list[Lease], float | None]:
            return self._claim(want)

        return self.bells.wait(want.lanes, look, wait, self.settings.look)

    @abstractmethod
    def _claim(self, want: Claim) -> tuple[list[Lease], float | None]:
        """`claim` without waiting; if it finds nothing, also the seconds until something is due, if known.

        Delayed jobs that are due and leases that ran out are made claimable first.
        """

    @abstractmethod
    def take(self, job: str, want: Claim) -> Lease | None:
        """Claim this job, whatever its lane; None if it cannot be claimed. Raises `UnknownJobError`."""

    @abstractmethod
    def renew(self, leases: Sequence[Lease]) -> list[Hold]:
        """Extend each lease by its length from now; returns the state of each."""

    def hold(self, leases: Sequence[Lease], timeout: float) -> list[Hold]:
        """Renew until a lease is lost or should be cancelled, or ``timeout`` passes. For the renewing thread.

        All leases must be of one owner. Call it repeatedly, with a timeout of a third of the shortest lease.
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
        """Deliver a result; in the same step submit follow-up jobs and claim the next ones.

        The follow-ups are submitted if this result completes the job: once, however often it is delivered. Jobs that
        waited for this one (``after``) are queued, or cancelled if it died. A failure leads to another attempt or
        to the dead letters.
        """

    @abstractmethod
    def release(self, lease: Lease, *, delay: float = 0.0, reason: str = "") -> bool:
        """Hand a job back without counting the attempt, due in ``delay`` seconds. False: it was no longer held."""

    @abstractmethod
    def release_owner(self, owner: str, reason: str) -> list[str]:
        """Return all jobs of an owner whose process is known to be dead to the queue at once; returns their ids."""

    # Asking

    @abstractmethod
    def job(self, job: str) -> Job | None:
        """A job by id; None if there is none."""

    @abstractmethod
    def jobs(self, wanted: JobFilter) -> list[Job]:
        """The jobs that match, newest first."""

    @abstractmethod
    def result(self, job: str) -> Result | None:
        """The result of a job; None while it is not over. Raises `UnknownJobError`."""

    def wait_result(self, job: str, timeout: float) -> Result | None:
        """Like `result`, but wait up to ``timeout`` seconds for it. Raises `UnknownJobError`."""

        def look() -> tuple[Result | None, float | None]:
            return self.result(job), None

        return self.bells.wait([job_topic(job)], look, timeout, self.settings.look)

    @abstractmethod
    def stats(self) -> list[LaneStats]:
        """Statistics of every lane that holds anything."""

    def check(self) -> None:
        """Raise `BrokerError` if a new client could not use the queue, even though this object still can."""
        return

    # Dead letters and finished jobs

    def dead(self, limit: int = 100) -> list[Job]:
        """The dead letters, newest first, each with the errors of its attempts."""
        return self.jobs(JobFilter(states=frozenset({JobState.DEAD}), limit=limit))

    @abstractmethod
    def retry(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Queue dead letters (None: all) again with their attempts reset; returns the ids of those queued."""

    @abstractmethod
    def purge(self, jobs: Iterable[str] | None = None) -> list[str]:
        """Delete dead letters (None: all); returns the ids of those deleted."""

    @abstractmethod
    def clean(self, older_than: float) -> int:
        """Delete jobs that were done or cancelled more than so many seconds ago; returns how many."""

    # Maintenance

    @abstractmethod
    def reap(self, leader: Leadership | None = None) -> Reaped:
        """Take back the jobs of silent workers, queue what is due, delete what is old: a bounded step.

        It is atomic, so any number of processes may do it; electing a leader only saves work. Raises
        `StaleLeaderError` if the caller is no longer the leader.
        """

    @abstractmethod
    def lead(self, name: str, owner: str, ttl: float) -> Leadership | None:
        """Become or stay the leader for ``ttl`` seconds; None if there is another leader."""

    @abstractmethod
    def resign(self, leader: Leadership) -> None:
        """Give up the leadership; does nothing if another leader has taken over."""

    # The object

    @abstractmethod
    def _bell(self, topics: Topics) -> Bell:
        """Create a bell for these topics."""

    def wake(self, *, for_good: bool = False) -> None:
        """End every wait of this object at once, from any thread or signal handler; each returns what it has.

        With ``for_good``, later waits return after their first look, too.
        """
        self.bells.call_off(for_good=for_good)

    def hurry(self, seconds: float) -> None:  # noqa: B027 - most have nothing to do
        """Make calls give up after so many seconds if other processes block them, where the broker can choose.

        `HURRY` for those that look for a stopped process in the way: to find it before anyone else gives up.
        """

    def close(self) -> None:
        """Release all resources. No call may be under way."""
        self.bells.close()

    def need(self, job: str) -> Job:
        """A job by id. Raises `UnknownJobError`."""
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
