"""What the queue's commands print with ``--json``; see `shapes`."""

from __future__ import annotations

from typing import Any, Literal

from paneview.cli.shape import Shape, Success

State = Literal["queued", "delayed", "blocked", "leased", "done", "dead", "cancelled"]


class Attempt(Shape):
    """An attempt that ended without an accepted result."""

    number: int
    token: int
    worker: str
    error: str
    at: float


class Result(Shape):
    """The outcome of a job."""

    job: str
    status: Literal["ok", "error", "cancelled"]
    output: Any
    """What the handler returned; for a prompt, the text that the program printed."""
    error: str | None
    worker: str
    host: str
    token: int
    attempt: int
    started_at: float | None
    finished_at: float


class Job(Shape):
    """A job as it is now."""

    id: str
    kind: str
    state: State
    status: Literal["pending", "in_progress", "completed", "failed"]
    """The state in claude-queue's words."""
    payload: Any
    target: str
    """Whom it is for, in the form that `dispatch` takes."""
    role: str | None
    host: str | None
    lane: str
    """Where it waits: its target's queue, unless that was a worker which died."""
    priority: int
    timeout: float
    attempts: int
    max_attempts: int
    token: int
    """Number of its last lease; each lease has a higher one."""
    submitted_at: float
    submitted_by: str
    key: str | None
    meta: dict[str, Any]
    after: list[str]
    group: str | None
    not_before: float | None
    owner: str | None
    leased_at: float | None
    lease_until: float | None
    cancel: str | None
    """Why it is to be cancelled."""
    ended_at: float | None
    errors: list[Attempt]
    result: Result | None


class JobShape(Success):
    """`job`."""

    job: Job


class Jobs(Success):
    """`jobs`, and `dlq` with list or show."""

    jobs: list[Job]
    count: int
    warnings: list[str] | None = None
    """What is wrong with the broker, or with jobs that cannot be shown."""


class ResultShape(Success):
    """`result`, and `submit --wait`; a job that failed is a failure that has id and result, too."""

    id: str
    result: Result


class Dispatched(Success):
    """`dispatch`, and `submit` without --wait."""

    id: str
    created: bool
    """False: a job with this key existed, and this is its id."""
    target: str


class Sent(Shape):
    """A job for one of many workers."""

    id: str
    created: bool
    worker: str
    name: str


class DispatchedAll(Success):
    """`dispatch-role` and `broadcast`."""

    jobs: list[Sent]
    count: int


class Fate(Shape):
    """What was done about one job or worker."""

    ok: bool
    id: str
    action: str
    error: str | None = None


class Fates(Success):
    """`cancel`, `unquarantine`, and `dlq` with retry or purge."""

    results: list[Fate]


class Lane(Shape):
    """A target's queue."""

    lane: str
    target: str
    queued: int
    delayed: int
    blocked: int
    leased: int
    depth: int
    oldest_age_s: float | None
    """How long the oldest job that could be taken has waited."""


class Lanes(Success):
    """`queue`; with clean it prints action and count."""

    broker: str
    lanes: list[Lane]
    warnings: list[str]
    """What should be known about the broker's set-up."""


class WorkerShape(Shape):
    """A worker."""

    id: str
    """Id of this incarnation."""
    name: str
    """Its task's name, its pane's id, or standalone-…"""
    host: str
    pid: int
    pane: str | None
    roles: list[str]
    kinds: list[str]
    """Kinds of jobs that it has handlers for."""
    concurrency: int
    alive: bool
    started_at: float
    heartbeat_age_s: float
    ttl: float
    """Seconds without a heartbeat after which it counts as lost."""
    jobs: list[str]
    """Jobs that it holds."""
    quarantined: bool
    reason: str | None
    """Why it is quarantined."""


class Workers(Success):
    """`workers`, which is also called panes."""

    workers: list[WorkerShape]
    count: int
    quarantined: dict[str, dict[str, Any]]


class Host(Shape):
    """A host."""

    host: str
    workers: int
    alive: int
    jobs: int
    roles: list[str]


class Hosts(Success):
    """`hosts`."""

    hosts: list[Host]
    count: int


class WorkerEvent(Shape):
    """`worker` and `watchdog` print one of these a line while they run."""

    ts: float
    event: str
    text: str
    """The same for people."""
    job: str | None = None
    kind: str | None = None
    attempt: int | None = None
    seconds: float | None = None
    error: str | None = None
    worker: str | None = None
    name: str | None = None
    host: str | None = None
    roles: list[str] | None = None
    kinds: list[str] | None = None
    reason: str | None = None
    fields: dict[str, Any] | None = None


class Runner(Shape):
    """A way to run agents."""

    name: str
    preset: str | None
    model: str | None
    max_concurrent: int | None
    """null: any number."""
    paused: bool
    status: Literal["rate_limited", "auth"] | None
    reason: str | None
    since: float | None
    until: float | None
    """When the pause ends by itself."""
    jobs: int
    """Phases that wait for it."""


class Resumed(Fate):
    """What was done about a runner."""

    jobs: int | None = None
    """Phases that were released."""


class Runners(Success):
    """`runner list`, and `runner resume` with the results alone."""

    runners: list[Runner] | None = None
    count: int | None = None
    results: list[Resumed] | None = None


class Service(Success):
    """`service`."""

    name: str
    """What to name the unit's file."""
    unit: str


QUEUE_SHAPES: dict[str, type[Shape]] = {
    "worker": WorkerEvent,
    "watchdog": WorkerEvent,
    "dispatch": Dispatched,
    "dispatch-role": DispatchedAll,
    "broadcast": DispatchedAll,
    "submit": Dispatched,
    "jobs": Jobs,
    "job": JobShape,
    "result": ResultShape,
    "cancel": Fates,
    "dlq": Jobs,
    "queue": Lanes,
    "workers": Workers,
    "hosts": Hosts,
    "unquarantine": Fates,
    "runner": Runners,
    "service": Service,
}
