"""The configuration as data: what a file may say (``ProjectTable``) and what paneview runs (``Project``).

Two shapes of the same thing. The tables mirror the file: strict types, no unknown keys, and the JSON Schema
that editors read. The resolved models are what the rest of the program sees: paths absolute, ``${VAR}``
replaced, sizes in bytes, replicas expanded. Fields that are the same in both are written once, in
``TaskFields``.

The text under a field is its description, in the JSON Schema too (`jsonschema` reads it from this source).

Strict means strict: ``port = "8000"`` is an error, not 8000. A whole number is accepted where seconds are
meant.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from paneview.config.choices import Condition, RestartPolicy
from paneview.config.fields import Model, NotBlank, NotEmpty, NotNegative, Port, Positive, TaskName
from paneview.config.queue import LEAST, MOST, QueueSettings
from paneview.config.workflows.plans import Plan
from paneview.config.workflows.roles import Agents
from paneview.config.workflows.runners import RoleTable, RunnerTable
from paneview.config.workflows.tables import WorkflowTable

MOST_REPLICAS = 1000

StopSignal = Literal["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL"]


class Hooks(Model, frozen=True, kw_only=True):
    """Shell commands around a start and a stop, in the task's folder and environment.

    Order: global before, task before, the action, task after, global after. A failing `before_*` aborts the
    action.
    """

    before_start: NotBlank | None = None
    """Run before the process is started; a failure aborts the start."""
    after_start: NotBlank | None = None
    """Run once the process has been started."""
    before_stop: NotBlank | None = None
    """Run before the process is stopped; a failure aborts the stop."""
    after_stop: NotBlank | None = None
    """Run once the last process is gone."""
    timeout: Positive = 60.0
    """Seconds a hook may take before it is killed, with all it started, and counts as failed."""


class Dependency(Model, frozen=True, kw_only=True):
    """One thing a task waits for."""

    task: str
    """The task to wait for; with replicas, every one of them."""
    condition: Condition = "healthy"
    """started: its process runs; healthy: its probe has succeeded; completed: it has ended with exit code
    0."""


class TmuxSettings(Model, frozen=True, kw_only=True):
    """Which tmux server the project's session lives in."""

    socket: NotBlank | None = None
    """Name (as `tmux -L`) or absolute path (as `tmux -S`) of the server's socket. Default: the user's own
    server."""


class WebSocketSettings(Model, frozen=True, kw_only=True):
    """The WebSocket API. It is off unless this table exists or `paneview daemon --port` asks for it."""

    port: Port = 8765
    """The port to listen on."""
    host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    """The loopback address to listen on; others are refused, because the API can run commands."""


class SecretSettings(Model, frozen=True, kw_only=True):
    """Which values are masked in `inspect`, events and exports. A log is shown as the task wrote it."""

    patterns: tuple[NotBlank, ...] = ("*TOKEN*", "*SECRET*", "*PASSWORD*", "*KEY*")
    """Values of environment variables whose name matches one of these (`*` and `?`, in upper or lower case)
    are masked in `inspect`, events and exports."""


class QueueTable(Model, frozen=True, kw_only=True):
    """The queue, and what holds for all who work on it. Environment variables override these."""

    broker: NotBlank = "sqlite:"
    """Where the queue is: sqlite: (the project's own, on this host), redis://HOST/0, dir:///SHARED/FOLDER, …"""
    host: NotBlank | None = None
    """The name under which this host takes jobs. Default: the machine's."""
    heartbeat_interval: Annotated[float, Meta(ge=LEAST["heartbeat_interval"], le=MOST)] = 10.0
    """Seconds between two heartbeats of a worker."""
    heartbeat_ttl: Annotated[float, Meta(ge=LEAST["heartbeat_ttl"], le=MOST)] = 60.0
    """Seconds without a heartbeat after which a worker counts as dead."""
    command_timeout: Annotated[float, Meta(ge=LEAST["command_timeout"], le=MOST)] = 300.0
    """Seconds that an attempt may take, unless its job says otherwise."""
    lease: Annotated[float, Meta(ge=LEAST["lease"], le=MOST)] = 60.0
    """Seconds after which the job of a worker that has fallen silent goes back to the queue."""
    max_attempts: Annotated[int, Meta(ge=LEAST["max_attempts"], le=MOST)] = 3
    """Attempts before a job becomes a dead letter, unless the job says otherwise."""
    max_queue_depth: Annotated[int, Meta(ge=LEAST["max_queue_depth"], le=MOST)] = 100
    """Jobs that may wait for one target; more are refused. 0: any number."""
    respawn_limit: Annotated[int, Meta(ge=LEAST["respawn_limit"], le=MOST)] = 5
    """Respawns of a worker within `respawn_window` after which it is quarantined."""
    respawn_window: Annotated[float, Meta(ge=LEAST["respawn_window"], le=MOST)] = 300.0
    """The seconds within which respawns count."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What workers print: messages of this level and above."""


class TaskFields(Model, frozen=True, kw_only=True):
    """What is the same in the file and in the resolved task."""

    command: NotBlank
    """The shell command to run, by `sh -c`. `${VAR}` is left to that shell, which sees the same values; a
    `${VAR}` that is set nowhere and has no default is an error."""
    description: str = ""
    """What the task is for, shown beside its name."""
    group: NotBlank | None = None
    """Tasks of one group are shown together."""
    auto_start: bool = True
    """Start with the project; false: only by hand, or when another task that starts depends on it."""
    port: Port | None = None
    """The port the task listens on. Anything else of yours that listens there is ended before the start, and an
    event says so."""
    health_check: NotBlank | None = None
    """Shell command that exits with 0 when the task is healthy. A task has at most one kind of probe."""
    health_url: NotBlank | None = None
    """http:// or https:// address that answers when the task is healthy. `localhost` is tried over IPv4
    and IPv6."""
    health_body: NotBlank | None = None
    """Regular expression that must match somewhere in the body of `health_url`'s answer."""
    health_log: NotBlank | None = None
    """Regular expression: the task is healthy once a line of its output matches."""
    health_interval: Positive = 10.0
    """Seconds between two probes once the task is ready (until then they are more frequent)."""
    health_timeout: Positive = 5.0
    """Seconds a probe may take."""
    health_retries: Annotated[int, Meta(ge=1)] = 3
    """Consecutive failures before the task counts as unhealthy and is restarted by its policy. To become ready it has
    `health_interval` times this after its start, 5 s at least."""
    ready_timeout: Positive = 60.0
    """Seconds after which an event says that tasks still wait for this one to become ready (they go on waiting)."""
    stop_grace_period: NotNegative = 5.0
    """Seconds from the stop signal to SIGTERM, and from there to SIGKILL."""
    stop_signal: StopSignal = "SIGINT"
    """The signal that asks the task to stop."""
    restart_policy: RestartPolicy = "on-failure"
    """When to start the task again after it ended by itself."""
    max_restarts: Annotated[int, Meta(ge=0)] = 5
    """Restarts before giving up; the count is reset after 60 s healthy."""
    restart_backoff: NotNegative = 2.0
    """The n-th restart in a row waits this to the power of n-1 seconds, 60 at most; the first does not wait. 0: none
    does."""
    log_max_files: Annotated[int, Meta(ge=1)] = 3
    """Files of `log_max_size` to keep."""
    input_patterns: list[NotBlank] | None = None
    """Regular expressions for the line at the cursor of a task that waits for an answer, instead of the usual ones
    (`password:`, `[y/N]`, …). []: none, so it never counts as waiting."""
    schedule: NotBlank | None = None
    """Cron expression (minute hour day month weekday, local time, or @hourly, @daily, …): one run at each
    such time, with what it depends on; none while the last is still running."""
    hooks: Hooks = Hooks()
    """Commands around this task's start and stop."""


class TaskTable(TaskFields, frozen=True, kw_only=True):
    """A task as the file says it."""

    cwd: NotBlank | None = None
    """The folder to run in, relative to this file's folder, which is the default."""
    depends_on: list[NotBlank | Dependency] = []
    """Tasks to wait for: a name (waits until it is healthy) or `{ task = "db", condition = "completed" }`."""
    env: dict[str, str] = {}
    """Environment variables, on top of `env_file` and of what paneview was started with."""
    env_file: NotBlank | None = None
    """File of NAME=value lines, relative to this file's folder."""
    health_status: int | NotEmpty | list[int | NotEmpty] = "200-399"
    """HTTP status that means healthy for `health_url`: a number, a range such as "200-299", or a list of
    these."""
    health_tcp: Port | NotBlank | None = None
    """Healthy when it accepts connections: "host:port", or a port on localhost (IPv4 and IPv6 are tried)."""
    log_file: NotBlank | None = None
    """Also write the output, as plain text with times, to this file, relative to this file's folder."""
    log_max_size: Annotated[int, Meta(ge=1)] | NotBlank = "10MB"
    """Size of a log file, of which `log_max_files` are kept: a number of bytes, or one with KB, MB or GB
    (powers of 1024)."""
    log_max_age: Positive | NotBlank | None = None
    """Output older than this is removed: seconds, or with s, m, h, d or w. Default: only the size is a limit."""
    replicas: Annotated[int, Meta(ge=1, le=MOST_REPLICAS)] | None = None
    """Run this many, as NAME.1 to NAME.N, each with its number in PANEVIEW_REPLICA."""


class WorkerTable(Model, frozen=True, kw_only=True):
    """A worker: takes jobs from the queue, supervised like any task."""

    role: NotEmpty | list[NotBlank] = "worker"
    """What it can do: one role, or several."""
    command: tuple[NotBlank, ...] = ("claude", "-p")
    """The program that gets a prompt on standard input, as a list of words; no shell reads it."""
    runner: NotBlank | None = None
    """The runner that does phases of workflows here. Default: its role's, else the file's first, else claude."""
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Jobs at the same time."""
    handlers: list[NotBlank] = []
    """Python modules with handlers for kinds of jobs of your own, found from `cwd`."""
    allow: list[NotBlank] = []
    """Folders in which, or below which, a job may ask to run, relative to this file's folder. Default: `cwd`."""
    replicas: Annotated[int, Meta(ge=1, le=MOST_REPLICAS)] | None = None
    """Run this many, as NAME.1 to NAME.N."""
    description: str = ""
    """What the worker is for, shown beside its name."""
    group: NotBlank | None = "workers"
    """Shown together with the tasks of this group."""
    auto_start: bool = True
    """Start with the project."""
    cwd: NotBlank | None = None
    """The folder to run in, relative to this file's folder, which is the default."""
    depends_on: list[NotBlank | Dependency] = []
    """Tasks to wait for."""
    env: dict[str, str] = {}
    """Environment variables, on top of `env_file` and of what paneview was started with."""
    env_file: NotBlank | None = None
    """File of NAME=value lines, relative to this file's folder."""
    stop_grace_period: NotNegative = 10.0
    """Seconds that jobs under way may go on when the worker is stopped; then they are handed back."""
    hooks: Hooks = Hooks()
    """Commands around this worker's start and stop."""


class ProjectTable(Model, frozen=True, kw_only=True):
    """A paneview project: the tasks it runs and how. Strings may hold ${VAR} and ${VAR:-default}."""

    name: NotBlank | None = None
    """Name of the project and of its tmux session. Default: the folder's name (in a taskmux.toml:
    "taskmux")."""
    auto_start: bool = True
    """False: the session is created, but no task is started by itself."""
    env: dict[str, str] = {}
    """Environment variables of every task, on top of `env_file`."""
    env_file: NotBlank | None = None
    """File of NAME=value lines for every task, relative to this file's folder."""
    hooks: Hooks = Hooks()
    """Commands around every task's start and stop."""
    tmux: TmuxSettings = TmuxSettings()
    """Where the project's tmux session lives."""
    websocket: WebSocketSettings | None = None
    """The WebSocket API; off without this table."""
    secrets: SecretSettings = SecretSettings()
    """Which values are masked in `inspect`, events and exports. A log is shown as the task wrote it."""
    queue: QueueTable = QueueTable()
    """The queue of jobs."""
    tasks: dict[TaskName, TaskTable] = {}
    """The tasks, by name: letters, digits, _ and -."""
    workers: dict[TaskName, WorkerTable] = {}
    """The workers, by name; no task may have the same name."""
    runners: dict[TaskName, RunnerTable] = {}
    """Programs that drive agents, by name; claude, codex, gemini, opencode, aider and demo need no table."""
    roles: dict[TaskName, RoleTable] = {}
    """What agents of a role may do, by the role's name; planner, reviewer, worker and compounder need no table."""
    workflows: dict[TaskName, WorkflowTable] = {}
    """What `paneview ask` does, by name; `default` needs no table."""


class WorkerSpec(Model, frozen=True, kw_only=True):
    """What a worker has beyond a task."""

    roles: tuple[str, ...]
    """What it can do."""
    respawn_limit: int
    """Respawns within `respawn_window` before it is quarantined."""
    respawn_window: float
    """Seconds."""


class Task(TaskFields, frozen=True, kw_only=True):
    """A task ready to run; each replica is a task of its own."""

    name: str
    """`base_name`, or `base_name.N` for a replica."""
    base_name: str
    replica: int | None = None
    """This replica's number, from 1."""
    cwd: Path
    """Absolute; it existed when the file was read."""
    checks_cwd: Path | None = None
    """Where `health_check` and hooks run if not in `cwd`: with a taskmux.toml beside it, as taskmux runs them."""
    depends_on: tuple[Dependency, ...] = ()
    """Tasks by their full names: a dependency on a task with replicas is here once for each."""
    env: dict[str, str] = {}
    """All variables added to the environment: from `env_file` and `env` of project and task."""
    env_file: Path | None = None
    health_status: tuple[tuple[int, int], ...] = ((200, 399),)
    """Ranges of HTTP status codes, both ends included."""
    health_tcp: str | None = None
    """host:port (an IPv6 address in brackets)."""
    log_file: Path | None = None
    log_max_size: int
    """Bytes."""
    log_max_age: float | None = None
    """Seconds."""
    worker: WorkerSpec | None = None
    """None: it is not a worker."""
    written: str = ""
    """A mark of what the files say about the process, before any ``${VAR}`` is filled in; see `definition_key`."""

    @property
    def most_restarts(self) -> int | None:
        """Restarts in a row before giving up. None, for a worker: its restarts are counted within a window instead."""
        return self.max_restarts if self.worker is None else None

    def definition_key(self) -> str:
        """Changes when, and only when, a running process no longer matches the file and must be restarted.

        That is what the process was started with: command, folder and environment. All else (probes, policy,
        limits, hooks, port, description, dependencies) takes effect without a restart.

        It depends on what the environment has filled in: for a process that another supervisor started, compare
        `written` as well.
        """
        parts = [self.command, str(self.cwd), sorted(self.env.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class Project(Model, frozen=True, kw_only=True):
    """A configuration file, read, checked and resolved."""

    name: str
    file: Path
    """Absolute; a symbolic link is not followed, since the project's folder is where the link stands."""
    root: Path
    """The file's folder."""
    auto_start: bool
    env: dict[str, str]
    """What is added to the environment of every task (already part of each task's `env`), and of the global
    hooks."""
    hooks: Hooks
    tmux: TmuxSettings
    websocket: WebSocketSettings | None
    queue: QueueSettings
    has_queue: bool
    """Whether the file has a queue or workers."""
    agents: Agents
    """Runners and roles, the built-in ones included."""
    workflows: dict[str, Plan]
    """Every workflow by name, the default one included."""
    secret_patterns: tuple[str, ...]
    secret_values: frozenset[str]
    """The values themselves; see `secrets.Masker`."""
    tasks: dict[str, Task]
    """By full name, in the order of the file."""

    def uses_queue(self, folder: Path) -> bool:
        """Whether it has a queue: its file says so, or jobs were submitted in its state folder."""
        return self.has_queue or (folder / "queue.db").exists()
