"""Queues: one interface, three brokers. What follows holds for each of them, and is tested against each:

A **job** has an id, a kind, a payload, a target and a state (`JobState`): queued, delayed (not due yet), blocked (needs
other jobs), leased (a worker has it), and finally done, dead or cancelled. A **target** (`Target`) is a task or pane, a
role, a host, a role on a host, one worker, or any worker; each has a **lane** of its own.

A **claim** takes the next jobs of several lanes in one step and gives each a **lease** with a fencing **token** that
grows with each claim of the job. The holder renews its leases; if one is not renewed in time, the job returns to the
queue. So every job is done at least once and has exactly one accepted result: that of its last holder. ``finish``
answers *accepted*, *already* (an earlier reply was lost: no error) or *stale* (a later holder exists: nothing changed).

A failed job is retried after a growing delay, for at most ``max_attempts`` attempts; then it is a **dead letter** that
keeps the error of every attempt. A holder that dies costs an attempt as well, so a job that kills its workers ends as a
dead letter. ``finish`` can submit follow-up jobs and claim the next ones in the same step: workflows are built on that,
with ``after``, ``group``, ``key`` and ``release``.

**Documents** are stored next to the jobs, with versions, for state that must outlive its process: workflows.

Depth is limited per lane; a full lane refuses new jobs, and nothing is dropped. Only the broker's clock counts for
leases.

`paneview.broker.facade.AsyncBroker` makes the calls for event loops; it is not imported here because importing asyncio
would slow down commands.

``open_broker(url)``: `sqlite` (one host, nothing to install), `redis` (many hosts), `directory` (a shared file system).
"""

from __future__ import annotations

from paneview.broker.documents import ConflictError, Document, Documents
from paneview.broker.errors import (
    BadJobError,
    BadUrlError,
    BrokerError,
    MissingExtraError,
    NotOursError,
    QueueFullError,
    StaleLeaderError,
    UnavailableError,
    UnknownJobError,
)
from paneview.broker.interface import Broker, Feed, Flags, Registry
from paneview.broker.model import (
    ALL,
    Attempt,
    Claim,
    Event,
    EventPage,
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
    new_id,
)
from paneview.broker.opening import open_broker
from paneview.broker.staff import Registration, WorkerView
from paneview.broker.targets import ANY, Target, lanes_of
from paneview.rules.jobs import Backoff, JobState, Verdict

__all__ = [
    "ALL",
    "ANY",
    "Attempt",
    "Backoff",
    "BadJobError",
    "BadUrlError",
    "Broker",
    "BrokerError",
    "Claim",
    "ConflictError",
    "Document",
    "Documents",
    "Event",
    "EventPage",
    "Feed",
    "Finished",
    "Flags",
    "Hold",
    "Job",
    "JobFilter",
    "JobState",
    "LaneStats",
    "Leadership",
    "Lease",
    "MissingExtraError",
    "NewJob",
    "NotOursError",
    "Outcome",
    "QueueFullError",
    "Reaped",
    "Registration",
    "Registry",
    "Result",
    "Settings",
    "StaleLeaderError",
    "Submitted",
    "Target",
    "UnavailableError",
    "UnknownJobError",
    "Verdict",
    "WorkerView",
    "lanes_of",
    "new_id",
    "open_broker",
]
