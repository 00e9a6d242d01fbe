"""The data types that go into a broker and come out of it. All times are epoch seconds, all durations seconds.

Times that people read come from the broker's host or from the worker's; no decision ever compares two of them. The
clock that counts for leases and delays stays inside the broker.

Plain records are named tuples: Python makes those in a fifth of the time that a dataclass takes, and whatever has to do
with the queue imports these first.
"""

from __future__ import annotations

import re
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from paneview.broker.errors import BadJobError
from paneview.broker.targets import ANY, Target
from paneview.rules.jobs import Backoff, JobState, Verdict

Json = Any
"""What `json` can write: None, bool, int, float, str, and lists and dicts (with str keys) of these."""

MAX_PRIORITY = 999
MAX_LABEL = 200  # characters of a kind, key, group or submitter
ALL = sys.maxsize  # as a limit: no limit
MOST_SECONDS = 1e9  # some 31 years: the longest delay or attempt


def new_id() -> str:
    """A new job id: the time, for people, and 48 random bits. It sorts by time, but nothing depends on that."""
    return f"{int(time.time())}_{uuid.uuid4().hex[:12]}"


def valid_id(job: str) -> bool:
    """Whether this can be a job id: up to 64 letters, digits, ``_`` and ``-``."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", job) is not None


def as_text(value: str) -> str:
    """Replace lone surrogates, so that every store can hold the text."""
    return value.encode("utf-8", "replace").decode()


class Settings(NamedTuple):
    """A broker's settings, and defaults for what a job leaves open."""

    max_depth: int | None = 100
    """Waiting jobs a lane may hold; None: no limit. Follow-ups of a finished job are never refused."""
    lease: float = 60.0
    timeout: float = 300.0
    max_attempts: int = 3
    backoff: Backoff = Backoff()
    keep_events: int = 100_000
    look: float = 1.0
    """Seconds after which a waiting worker looks again on its own, in case a bell was lost."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to submit. Submitting it again with the same ``id`` changes nothing."""

    kind: str = "prompt"
    payload: Json = None
    target: Target = ANY
    priority: int = 0
    """-999 to 999, higher first; equal ones in the order of submission."""
    delay: float = 0.0
    """Seconds from now before which it must not be claimed."""
    timeout: float | None = None
    """Seconds one attempt may run, enforced by the worker. None: the broker's default."""
    max_attempts: int | None = None
    key: str = ""
    """Idempotency key: submitting another job with the key of one that is still stored does nothing."""
    meta: Mapping[str, Json] = field(default_factory=dict)
    submitted_by: str = ""
    after: tuple[str, ...] = ()
    """Ids of jobs that must be done first; if one of them dies or is cancelled, so is this."""
    group: str = ""
    """A label for jobs that belong together: a workflow's id."""
    id: str = field(default_factory=new_id)

    def __post_init__(self) -> None:
        """Raises `BadJobError` for invalid values."""
        if not valid_id(self.id):
            raise BadJobError(f"{self.id!r} is not a job id: letters, digits, _ and -, 64 at most")
        if not self.kind:
            raise BadJobError("a job needs a kind")
        for what in ("kind", "key", "group", "submitted_by"):
            if not getattr(self, what).isprintable() or len(getattr(self, what)) > MAX_LABEL:
                raise BadJobError(f"{what} must be at most {MAX_LABEL} printable characters")
        if not -MAX_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise BadJobError(f"priority {self.priority} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}")
        if not 0 <= self.delay <= MOST_SECONDS:
            raise BadJobError(f"a delay of {self.delay:.15g} s is not between 0 and {MOST_SECONDS:.15g}")
        if self.timeout is not None and not 0 < self.timeout <= MOST_SECONDS:
            raise BadJobError(
                f"a timeout of {self.timeout:.15g} s is not above 0 and up to {MOST_SECONDS:.15g}"
            )
        if self.max_attempts is not None and not 1 <= self.max_attempts <= 1000:
            raise BadJobError(f"max_attempts {self.max_attempts} is not between 1 and 1000")


class Submitted(NamedTuple):
    """The outcome of submitting a `NewJob`."""

    id: str
    created: bool
    """False: a job with this key or id already existed; ``id`` is its id."""


class Attempt(NamedTuple):
    """An attempt that ended without an accepted result."""

    number: int
    token: int
    worker: str
    error: str
    at: float

    def as_json(self) -> dict[str, Json]:
        """For storage and for people."""
        return self._asdict()


class Result(NamedTuple):
    """The accepted result of a job, or why it has none."""

    job: str
    status: Literal["ok", "error", "cancelled"]
    output: Json
    error: str | None
    worker: str
    host: str
    token: int
    attempt: int
    started_at: float | None
    """When the last holder got the job; None if it was never claimed."""
    finished_at: float

    def as_json(self) -> dict[str, Json]:
        """For storage and for people."""
        return self._asdict()


class Job(NamedTuple):
    """A job as it is now."""

    id: str
    kind: str
    payload: Json
    target: Target
    lane: str
    """Where it waits: its target's lane, unless the target was a worker that died."""
    priority: int
    state: JobState
    timeout: float
    attempts: int
    """Claims so far that were not handed back."""
    max_attempts: int
    token: int
    """The token of its last lease; 0: never claimed."""
    submitted_at: float
    submitted_by: str
    key: str
    meta: Mapping[str, Json]
    after: tuple[str, ...]
    group: str
    not_before: float | None
    owner: str
    """Its current or last holder."""
    leased_at: float | None
    lease_until: float | None
    """By the broker's clock."""
    cancel: str | None
    """The reason, once cancellation was requested."""
    ended_at: float | None
    errors: tuple[Attempt, ...]
    result: Result | None


class Claim(NamedTuple):
    """What a worker wants to claim."""

    owner: str
    """A name unique to each incarnation of a worker (`uuid`), never a pane's id."""
    lanes: tuple[str, ...]
    n: int = 1
    seconds: float | None = None
    """Length of the lease; None: the broker's default."""


class Lease(NamedTuple):
    """A worker's hold on a job, until it is finished, handed back or not renewed in time."""

    job: Job
    owner: str
    token: int
    attempt: int
    seconds: float
    mark: str = ""
    """What else identifies this claim to the broker, where token and owner are not enough."""

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id


Hold = Literal["held", "cancel", "lost"]
"""The answer to a renewal: still held; held, but its cancellation was requested; no longer ours, so stop."""


class Outcome(NamedTuple):
    """A worker's report on an attempt."""

    status: Literal["ok", "error", "cancelled"] = "ok"
    output: Json = None
    error: str | None = None
    retry: bool = True
    """False: a retry is pointless, so the job is dead at once."""
    retry_in: float | None = None
    """Seconds before the next attempt; None: the broker's back-off."""
    host: str = ""


class Finished(NamedTuple):
    """The answer to a finish."""

    verdict: Verdict
    state: JobState | None
    """The job's state now; None if the job is gone."""
    follow_ups: tuple[Submitted, ...] = ()
    leases: tuple[Lease, ...] = ()
    """The next jobs, if a claim was passed."""


Cancelled = Literal["cancelled", "requested", "over"]
"""The effect of a cancel: the job ended; its holder was asked to end it; none, as it was already over."""


class JobFilter(NamedTuple):
    """Which jobs to list, newest first."""

    states: frozenset[JobState] = frozenset()
    """Empty: all."""
    lane: str = ""
    role: str = ""
    host: str = ""
    task: str = ""
    kind: str = ""
    group: str = ""
    limit: int = 100

    def accepts(self, job: Job) -> bool:
        """Whether the job matches."""
        wanted = (
            (self.lane, job.lane),
            (self.role, job.target.role),
            (self.host, job.target.host),
            (self.task, job.target.task),
            (self.kind, job.kind),
            (self.group, job.group),
        )
        return (not self.states or job.state in self.states) and all(
            not want or want == has for want, has in wanted
        )


class LaneStats(NamedTuple):
    """Statistics of a lane."""

    lane: str
    queued: int
    delayed: int
    blocked: int
    leased: int
    oldest_age: float | None
    """Seconds its oldest claimable job has waited; None if there is none."""

    @property
    def depth(self) -> int:
        """Jobs waiting in it."""
        return self.queued + self.delayed + self.blocked


class Reaped(NamedTuple):
    """The result of a round of the reaper."""

    expired: tuple[str, ...] = ()
    """Ids of jobs whose holder fell silent."""
    readdressed: int = 0
    """Number of jobs moved out of the lane of a dead worker."""
    workers_lost: tuple[str, ...] = ()
    """Ids of workers that fell silent."""
    more: bool = False
    """Whether there is more to do at once."""


class Leadership(NamedTuple):
    """The right to do what only one process should, as long as it is renewed; the epoch grows with each leader."""

    name: str
    owner: str
    epoch: int


class Event(NamedTuple):
    """Something that happened to a job or a worker."""

    id: str
    ts: float
    kind: str
    job: str = ""
    worker: str = ""
    detail: Mapping[str, Json] = {}


class EventPage(NamedTuple):
    """Some events, oldest first."""

    events: tuple[Event, ...]
    cursor: str
    """Pass it to the next read to continue from here."""
