"""Every object that ``--json`` prints, in one place: the documentation, the JSON Schema and the test of it.

``paneview schema --output COMMAND`` prints one as JSON Schema, and the tests check real output of real commands
against these models, in which every key must be declared. The keys that taskmux 0.4 documents are all here under
their old names; new keys may be added in later versions, none will be taken away. Times are epoch seconds, durations
seconds, sizes bytes, CPU per cent of one core.
"""

from __future__ import annotations

from typing import Any, Literal

from paneview.cli.projectshapes import PROJECT_SHAPES
from paneview.cli.queue.shapes import QUEUE_SHAPES
from paneview.cli.shape import Failure, Shape, Success, Yes
from paneview.cli.workflow.shapes import WORKFLOW_SHAPES

__all__ = ["SHAPES", "Failure"]


class Held(Shape):
    """A dependency that keeps a waiting task from starting."""

    task: str
    condition: Literal["started", "healthy", "completed"]
    """What the waiting task wants this one to be."""
    why: str
    """Why it is not that yet, such as `is not ready (connection refused)`."""


class Task(Shape):
    """A task as it is now."""

    name: str
    state: Literal[
        "idle", "waiting", "starting", "running", "stopping", "backoff", "done", "failed", "stopped"
    ]
    health: Literal["none", "starting", "healthy", "unhealthy"]
    """none: there is no probe; starting: not ready yet."""
    ready: bool
    """What depends on it may start."""
    reason: str
    """Why it is in this state."""
    cause: str
    """What led to the reason (an exit, a probe, a request); empty if the other keys say it all."""
    waits_for: list[Held]
    """In state waiting: the dependencies that are not met; none: it only has to wait for its turn."""
    quarantined: bool
    """It is a worker that died too often: it stays down until somebody releases or starts it."""
    probe_failures: int
    """Probes of this run that failed, in a row."""
    next_probe_at: float | None
    """While its probe fails: when it is probed again."""
    needs_input: str | None
    """What it asks, while it waits for an answer."""
    pid: int | None
    exit_code: int | None
    """Of the last run; null while none has ended, or after a signal."""
    signal: int | None
    """The signal that ended the last run."""
    restarts: int
    """Automatic restarts in a row; 60 healthy seconds make it 0."""
    restarts_total: int
    """Automatic restarts since somebody last started it."""
    run: int | None
    """Number of the current or last run."""
    uptime_s: float | None
    started_at: float | None
    ended_at: float | None
    next_start_at: float | None
    """In state backoff: when the restart is due. At rest, of a task with a schedule: its next time."""
    manual_stop: bool
    """Stopped by hand: it stays down until started by hand."""
    stopped_by: str | None
    """Who asked for the stop, while it is stopping or stopped; in the form of an event's actor."""
    cpu_percent: float | None
    """Of the whole process tree."""
    rss_bytes: int | None
    """Of the whole process tree."""
    processes: int | None
    """Number of processes in the tree."""
    command: str
    description: str
    group: str | None
    log_end: int | None
    """Number of the line after the last one of its log."""
    running: bool
    healthy: bool
    auto_start: bool
    port: int | None
    restart_policy: Literal["no", "on-failure", "always"]
    max_restarts: int | None
    """In a row before it is given up; null: a worker, which is quarantined instead."""
    cwd: str
    depends_on: list[str]
    window_id: str | None
    pane_id: str | None


class Supervisor(Shape):
    """The process that supervises."""

    pid: int
    uptime_s: float
    version: str


class QueueSummary(Shape):
    """The state of the queue of jobs, in short."""

    broker: str
    problem: str | None
    """Why it does not answer; the numbers are then the last that were known."""
    waiting: int
    running: int
    dead: int
    """Dead letters, counted up to 100."""
    oldest_age_s: float | None
    workers: int
    """Live workers, on all hosts."""
    quarantined: dict[str, dict[str, Any]]


class Status(Success):
    """`status`."""

    session: str
    running: bool
    """Whether a supervisor runs."""
    active_tasks: int
    file: str
    supervisor: Supervisor | None
    tasks: list[Task]
    queue: QueueSummary | None = None
    """Null where the project has no queue. Without a project the queue is all there is: session and file are empty."""
    file_problem: str | None = None
    """Why the file as it is now is not applied, where that is so: what it said before still counts."""


class TaskHealth(Shape):
    """A task's health."""

    name: str
    healthy: bool
    health: str
    state: str
    reason: str


class Health(Success):
    """`health`."""

    healthy_count: int
    total_count: int
    tasks: list[TaskHealth]


class Run(Shape):
    """A run of a task."""

    id: int
    task: str
    started_at: float | None
    ended_at: float | None
    exit_code: int | None
    signal: int | None
    cause: str | None
    """Why it was started."""
    end_reason: str | None
    pid: int | None
    start_ticks: int | None
    pane_id: str | None
    window_id: str | None
    boot_id: str | None
    tmux_pid: int | None
    tmux_start: int | None


class Process(Shape):
    """A process of a task's tree."""

    pid: int
    ppid: int
    name: str
    rss_bytes: int


class Inspect(Task):
    """`inspect`: the task's status, and everything behind it."""

    ok: Yes
    log_file: str | None
    health_check: str | None
    definition: dict[str, Any]
    """Every key of the configuration with its value as resolved; secrets are masked."""
    runs: list[Run]
    """The newest first."""
    probe: dict[str, Any] | None
    """The last probe: ok, detail, output, duration."""
    tree: list[Process]
    state_detail: dict[str, Any]


class Result(Shape):
    """The outcome of a request for one task."""

    ok: bool
    task: str
    action: str
    error: str | None = None


class Acted(Success):
    """`stop`, `kill`, `logs-clean`; task and action are also given here if one task was named."""

    results: list[Result]
    task: str | None = None
    action: str | None = None
    session: str | None = None
    """Of a `stop` of all tasks."""
    unrecorded: str | None = None
    """Why this would be forgotten if the supervisor were killed now: the store cannot be written."""


class Started(Acted, kw_only=True):
    """`start` and `restart`."""

    session: str
    tasks: list[str]
    """In the order of their start."""
    waiting: dict[str, list[str]] | None = None
    """Tasks that wait, and for what."""
    already: list[str] | None = None
    """Those that ran already, and were left alone."""


class Down(Success):
    """`down`."""

    session: str
    action: Literal["down"]
    tasks: list[str]
    """Those that were running."""


class Changed(Success):
    """What a changed configuration has changed."""

    session: str
    added: list[str]
    removed: list[str]
    changed: list[str]
    """Tasks that need another process now: their command, folder or environment has changed."""
    settings: list[str]
    """Other tasks with changed settings, which already apply to their present runs."""
    project_settings: list[str]
    """Changed keys and tables of the file that concern the project as a whole."""
    restarted: list[str]


class Reloaded(Changed):
    """`reload`."""

    action: Literal["reloaded"]


class Scaled(Changed):
    """`scale`."""

    action: Literal["scaled"]
    task: str
    replicas: int


class Event(Shape, kw_only=True):
    """Something that happened. With `-f`, one of these a line."""

    id: int | str
    """A number; for an event of the queue, a text."""
    ts: float
    event: str
    """Its kind."""
    panebus: str | None = None
    """PaneBus's name for this kind, if it has one."""
    source: Literal["supervisor", "queue"] = "supervisor"
    session: str | None
    task: str | None
    """The task; for an event of the queue, the worker's name."""
    job: str | None = None
    worker: str | None = None
    """Id of the worker's incarnation."""
    tasks: list[str] | None = None
    """The tasks, if it concerns several at once."""
    run: int | None
    cause: str | None
    """What led to it."""
    actor: str | None
    """user:NAME or supervisor."""
    detail: dict[str, Any]


class Events(Success):
    """`events`."""

    events: list[Event]
    """The oldest first."""
    count: int
    warnings: list[str] | None = None
    """Why the queue's events are missing; or which kinds and tasks are recorded, if none was found."""


class Entry(Shape):
    """A line of output. With `-f`, one of these a line."""

    task: str
    run: int
    n: int
    """Its number in the task's log, from 0 over all runs."""
    ts: float
    approx: bool
    """The time is estimated: the line was written while no supervisor ran."""
    text: str
    """Without colours and other escapes."""
    match: bool
    """False: it is context of a match."""


class Logs(Success):
    """`logs`."""

    task: str | None
    """The one task that was named, else null."""
    lines: list[str]
    """As printed for people: time, task if several are shown, text."""
    entries: list[Entry]
    """The same lines as objects."""
    tasks: dict[str, list[str]] | None = None
    """Of several tasks: the lines of each, as taskmux gives them."""


class Exported(Success):
    """`export --output FILE`; without it, the lines themselves are printed."""

    file: str
    format: Literal["jsonl", "text"]
    records: int


class Attach(Success):
    """`attach`: how to get to the task's window; with --json, this is all it does."""

    task: str
    session: str
    window_id: str
    command: list[str]


class Daemon(Success):
    """`daemon`."""

    action: Literal["started", "running"]
    version: str
    session: str
    pid: int
    file: str
    tmux_socket: str | None
    client: int
    websocket: str | None
    """Address of the WebSocket API; null while it is off."""
    token_file: str
    """The file with the API's token: sent as `?token=`, as a bearer token, or in the first message: `{"token": …}`."""


SHAPES: dict[str, type[Shape]] = {
    "status": Status,
    "health": Health,
    "inspect": Inspect,
    "start": Started,
    "restart": Started,
    "stop": Acted,
    "kill": Acted,
    "logs-clean": Acted,
    "down": Down,
    "reload": Reloaded,
    "scale": Scaled,
    "events": Events,
    "watch": Event,
    "logs": Logs,
    "export": Exported,
    "attach": Attach,
    "daemon": Daemon,
    **PROJECT_SHAPES,
    **QUEUE_SHAPES,
    **WORKFLOW_SHAPES,
}
