"""The vocabulary of the life cycle: states, events and effects, all frozen. `lifecycle` defines what they do."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from paneview.config.choices import RestartPolicy
from paneview.rules.restart import MAX_DELAY, Exit

UNKNOWN_EXIT = Exit()
SUPERVISOR = "supervisor"  # whose doing it is when nobody asked for it
SHORTEST_START_GRACE = 5.0  # seconds that a task may take to get ready, however often it is probed


class TaskPhase(StrEnum):
    """Where a task is in its life; the values are shown to people."""

    IDLE = "idle"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def active(self) -> bool:
        """Whether a process exists or is about to."""
        return self in _ACTIVE

    @property
    def under_way(self) -> bool:
        """Whether there is a process, or will be one without anyone's doing."""
        return self in _UNDER_WAY


_ACTIVE = frozenset({TaskPhase.STARTING, TaskPhase.RUNNING, TaskPhase.STOPPING})
_UNDER_WAY = _ACTIVE | {TaskPhase.WAITING, TaskPhase.BACKOFF}


class Health(StrEnum):
    """What the probe says about the current run."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Stage(StrEnum):
    """The stage that the stop of a run has reached."""

    HOOKS = "hooks"
    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    KILL = "kill"


class Then(StrEnum):
    """What follows when a stopping run is gone."""

    STOP = "stop"
    START = "start"
    RETRY = "retry"


class Quarantine(Struct, frozen=True):
    """When a worker is no longer restarted: after ``limit`` restarts within ``window`` seconds."""

    limit: int
    window: float


class Policy(Struct, frozen=True):
    """The part of a task's configuration that its life cycle depends on. Durations in seconds."""

    restart: RestartPolicy = "on-failure"
    max_restarts: int | None = 5
    """In a row. None: no limit."""
    backoff: float = 2.0
    probed: bool = False
    probed_once: bool = False
    """A run found healthy is not probed again: the line of its log that showed it may be gone."""
    health_interval: float = 10.0
    health_retries: int = 3
    stop_grace: float = 5.0
    quarantine: Quarantine | None = None
    """For a worker; None for other tasks."""

    @property
    def start_grace(self) -> float:
        """Seconds that a run may take to get ready; failed probes before that do not count."""
        return max(self.health_interval * self.health_retries, SHORTEST_START_GRACE)


class TaskState(Struct, frozen=True):
    """All that has to survive the supervisor's death. Times are epoch seconds."""

    phase: TaskPhase = TaskPhase.IDLE
    manual_stop: bool = False
    run: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit: Exit = UNKNOWN_EXIT
    health: Health = Health.NONE
    ready: bool = False
    failures: int = 0  # probes failed in a row
    healthy_since: float | None = None
    attempt: int = 0  # automatic restarts in a row; 60 s of health make it 0
    restarts: int = 0  # automatic restarts since a person last started it
    due: float | None = None  # when the back-off or the stage of a stop ends
    stage: Stage | None = None
    then: Then = Then.STOP
    then_cause: str = ""  # why it is started after its stop, if not for the stop's own reason
    then_by: str = ""  # who asked for that
    killed: bool = False  # the stop under way is a kill
    stopped_by: str = ""  # who asked for the stop, while stopping and afterwards
    root_gone: bool = False  # its first process has ended while the hooks before the stop ran
    tree_gone: bool = False  # its last process has ended, and the hooks after the stop run
    reason: str = ""  # why it is in this phase, for people
    cause: str = ""  # why the current run, or the next one, is started
    caused_by: str = SUPERVISOR  # who asked for that
    waiting_since: float | None = None
    respawns: tuple[float, ...] = ()  # of a worker: the times of its recent restarts
    quarantined: bool = False  # it stays down until a person releases it

    def to_dict(self) -> dict[str, Any]:
        """A JSON object that `from_dict` reads back."""
        plain: dict[str, Any] = to_builtins(self)
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TaskState:
        """The state written by `to_dict` of this or another version; unknown keys are ignored."""
        return convert(data, cls)

    def taken_over(self, now: float, policy: Policy) -> TaskState:
        """The same for the next supervisor, whose clock may have been set back since.

        No past time is later than ``now``, no back-off lasts longer than `MAX_DELAY`, and no stage of a stop longer
        than its grace period.
        """
        names = ("started_at", "ended_at", "healthy_since", "waiting_since")
        moments: dict[str, float | None] = {name: getattr(self, name) for name in names}
        past = {name: min(moment, now) for name, moment in moments.items() if moment is not None}
        due = self.due
        if due is not None:
            due = min(due, now + (MAX_DELAY if self.phase is TaskPhase.BACKOFF else policy.stop_grace))
        return replace(self, due=due, **past)


# --- events


class Start(Struct, frozen=True):
    """Someone wants it to run."""

    by: str


class Stop(Struct, frozen=True):
    """Someone wants it to end. ``kill``: at once, with SIGKILL."""

    by: str
    kill: bool = False


class Restart(Struct, frozen=True):
    """Someone wants a new run, whether or not one is alive."""

    by: str


class DependenciesMet(Struct, frozen=True):
    """All its dependencies meet their conditions."""


class Spawned(Struct, frozen=True):
    """Its process exists."""

    run: int


class SpawnFailed(Struct, frozen=True):
    """No process was started. ``retry`` False: another attempt would not help (a hook failed).

    ``withdrawn``: the launch was given up because a stop was requested first.
    """

    reason: str
    retry: bool = True
    withdrawn: bool = False


class Exited(Struct, frozen=True):
    """The run ended by itself, and its whole process tree is gone."""

    exit: Exit


class Lost(Struct, frozen=True):
    """The run is gone with its tmux server or the machine; ``exit`` is what its guard could record."""

    reason: str
    exit: Exit = UNKNOWN_EXIT


class StopBegun(Struct, frozen=True):
    """The hooks before the stop have run: the interrupt may be sent."""


class StopRefused(Struct, frozen=True):
    """A hook before the stop failed: the stop is called off, unless the run has ended meanwhile."""

    reason: str


class RootGone(Struct, frozen=True):
    """The first process of a run that is being ended is gone; others may be left."""


class TreeGone(Struct, frozen=True):
    """The last process of a run that is being ended is gone: only the hooks after the stop are left."""


class Stopped(Struct, frozen=True):
    """A run that was being ended is over, and so are its hooks. ``began`` False: its command was never started."""

    exit: Exit = UNKNOWN_EXIT
    began: bool = True


class Probed(Struct, frozen=True):
    """The result of a probe of the current run."""

    ok: bool
    detail: str = ""


class Redefined(Struct, frozen=True):
    """Its definition has changed: what the earlier one left in the state is corrected."""


class Tick(Struct, frozen=True):
    """Time has passed; `deadline` says when one is due."""


class SessionEnded(Struct, frozen=True):
    """The project was taken down: the next start begins anew."""


Event = (
    Start
    | Stop
    | Restart
    | DependenciesMet
    | Spawned
    | SpawnFailed
    | Exited
    | Lost
    | StopBegun
    | StopRefused
    | RootGone
    | TreeGone
    | Stopped
    | Probed
    | Redefined
    | Tick
    | SessionEnded
)

# --- effects


class Launch(Struct, frozen=True):
    """Start a process; answer with `Spawned` or `SpawnFailed`."""


class BeginStop(Struct, frozen=True):
    """Run the hooks before a stop; answer with `StopBegun` or `StopRefused`."""


class Signal(Struct, frozen=True):
    """Send the signal of this stage to the run; answer with `TreeGone` and `Stopped` when nothing is left."""

    stage: Stage


class Emit(Struct, frozen=True):
    """Record this for people, and publish it: one line of `paneview events`."""

    kind: str
    cause: str = ""
    detail: dict[str, Any] = {}
    by: str = SUPERVISOR
    of_run: bool = True
    """False: it belongs to no run, in particular not to the previous one."""


Effect = Launch | BeginStop | Signal | Emit


class Outcome(NamedTuple):
    """What `step` decided."""

    state: TaskState
    effects: tuple[Effect, ...] = ()
