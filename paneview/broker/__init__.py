"""Queues: one interface, three brokers. What holds for all of them, and is tested against all of them:

A **job** has an id, a kind, a payload, a target and a state (`JobState`): queued, delayed (not yet), blocked (needs
other jobs), leased (somebody works on it), and in the end done, dead or cancelled. A **target** (`Target`) is a task or
pane, a role, a host, a role on a host, one worker, or anybody; each has a **lane** of its own.

A **claim** takes the next jobs of several lanes in one step and gives each a **lease** with a fencing **token**, which
grows with each claim of the job. The holder renews its leases; one that is not renewed in time returns the job. So
every job is done at least once, and has exactly one accepted result: that of its last holder. ``finish`` answers
*accepted*, *already* (its reply was lost: no error) or *stale* (another holder came after: nothing changed).

A failure is tried again after a growing delay, at most ``max_attempts`` times; then the job is a **dead letter** that
keeps the error of every attempt. A holder that dies costs an attempt, too, so that a job which kills its workers
ends as one. ``finish`` can submit what follows and claim the next jobs in the same step: workflows are built on that,
with ``after``, ``group``, ``key`` and ``release``.

**Documents** are kept beside the jobs, with versions, for whatever must outlive its process: workflows.

Depth is limited per lane; a full lane refuses, nothing is dropped. Leases are judged by the broker's clock only.

`paneview.broker.facade.AsyncBroker` is the same for event loops; not here, since commands have no time for asyncio.

``open_broker(url)``: `sqlite` (one host, nothing to install), `redis` (many hosts), `directory` (a shared file system).
"""

from __future__ import annotations

from paneview.broker.documents import ConflictError, Document, Documents
from paneview.broker.errors import (
    BadJobError,
    BadUrlError,
    BrokerError,
    MissingExtraError,
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
from paneview.broker.staff import Worker, WorkerView
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
    "Outcome",
    "QueueFullError",
    "Reaped",
    "Registry",
    "Result",
    "Settings",
    "StaleLeaderError",
    "Submitted",
    "Target",
    "UnavailableError",
    "UnknownJobError",
    "Verdict",
    "Worker",
    "WorkerView",
    "lanes_of",
    "new_id",
    "open_broker",
]
