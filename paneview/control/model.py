"""What the supervisor sends, as frozen objects with named fields: the view models of every client that draws.

`from_json` accepts what a supervisor of another version may send: missing keys become the defaults here,
unknown ones are ignored. The fields' names are the keys of the JSON objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self


def given_fields(cls: type, raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that a JSON object has values for; null counts as none."""
    return {item.name: raw[item.name] for item in fields(cls) if raw.get(item.name) is not None}


@dataclass(frozen=True, slots=True)
class HeldView:
    """A task that another one waits for, and why."""

    task: str
    why: str  # "is not ready"


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task as it is now. Times are epoch seconds, durations seconds, sizes bytes."""

    name: str
    state: str = "idle"  # idle waiting starting running stopping backoff done failed stopped
    health: str = "none"  # none starting healthy unhealthy
    ready: bool = False
    reason: str | None = None  # why it is not running, or what it waits for
    cause: str | None = None  # the part of the reason that led to it; None: not sent (older supervisor)
    waits_for: tuple[HeldView, ...] = ()
    quarantined: bool = False
    probe_failures: int = 0  # in a row, in the current run
    next_probe_at: float | None = None  # while its probe fails
    needs_input: str | None = None  # what it asks, while it waits for an answer
    pid: int | None = None
    exit_code: int | None = None  # of the last run
    signal: int | None = None
    restarts: int = 0
    run: int | None = None
    uptime_s: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    next_start_at: float | None = None  # when a task in back-off, or with a schedule, is due
    manual_stop: bool = False
    stopped_by: str | None = None  # "user:NAME", "supervisor", "file change", …
    cpu_percent: float | None = None  # of the whole process tree; 100 is one core
    rss_bytes: int | None = None
    processes: int | None = None
    command: str = ""
    description: str | None = None
    group: str | None = None
    log_end: int = 0  # number of the line after the last
    running: bool = False
    healthy: bool = False
    auto_start: bool = True
    port: int | None = None
    restart_policy: str = "on-failure"
    max_restarts: int | None = 5  # None: no limit
    cwd: str | None = None
    depends_on: tuple[str, ...] = ()
    window_id: str | None = None
    pane_id: str | None = None

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of a task object. Raises KeyError if it has no name."""
        values = given_fields(cls, raw)
        values["depends_on"] = tuple(raw.get("depends_on") or ())
        values["waits_for"] = tuple(HeldView(one["task"], one["why"]) for one in raw.get("waits_for") or ())
        values["name"] = raw["name"]
        return cls(**values)

    def uptime(self, now: float) -> float | None:
        """Seconds since the run began, None if it does not run; `uptime_s` was right only when it was sent."""
        return None if self.started_at is None or not self.running else max(0.0, now - self.started_at)


@dataclass(frozen=True, slots=True)
class EventView:
    """Something that happened, with what led to it."""

    id: int
    ts: float
    kind: str
    task: str | None = None
    run: int | None = None
    cause: str | None = None
    actor: str | None = None
    session: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of an event object. Raises KeyError if its id, ts or event is missing."""
        return cls(**{**given_fields(cls, raw), "id": raw["id"], "ts": raw["ts"], "kind": raw["event"]})


@dataclass(frozen=True, slots=True)
class SupervisorView:
    """The supervisor's process."""

    pid: int | None = None
    uptime_s: float | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything at one moment, tasks in the file's order."""

    session: str
    running: bool = False
    active_tasks: int = 0
    file: str | None = None
    file_problem: str | None = None
    supervisor: SupervisorView = SupervisorView()
    tasks: tuple[TaskView, ...] = ()

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of a status object. Raises KeyError if it has no session."""
        supervisor = given_fields(SupervisorView, raw.get("supervisor") or {})
        tasks = tuple(TaskView.from_json(task) for task in raw.get("tasks") or ())
        values = {**given_fields(cls, raw), "session": raw["session"]}
        return cls(**{**values, "supervisor": SupervisorView(**supervisor), "tasks": tasks})


@dataclass(frozen=True, slots=True)
class LineView:
    """A line of a task's log; `text` keeps colours (SGR) and no other escape."""

    number: int
    run: int | None
    ts: float
    approx: bool  # the time is bracketed: it came while no supervisor ran
    text: str
    task: str = ""  # in a merged log: whose line it is
    unsettled: bool = False  # it may still grow, or get another number: fetch it again when the log has moved

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of an element of ``log_lines``."""
        return cls(
            raw["n"],
            raw.get("run"),
            raw.get("ts") or 0.0,
            bool(raw.get("approx")),
            raw.get("text") or "",
            raw.get("task") or "",
            bool(raw.get("unsettled")),
        )
