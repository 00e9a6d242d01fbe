"""The words of the life cycle: states, inputs and effects, all frozen. What they mean is in `lifecycle`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from paneview.config.choices import RestartPolicy
from paneview.rules.restart import MAX_DELAY, Exit

UNKNOWN_EXIT = Exit()
SHORTEST_START_GRACE = 5.0  # seconds: however often a task is probed, it may take this long to get ready


class TaskPhase(StrEnum):
    """Where a task is in its life; the words people see."""

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
        """A process exists, or is about to."""
        return self in _ACTIVE

    @property
    def under_way(self) -> bool:
        """There is a process, or there will be one without anybody's doing."""
        return self in _UNDER_WAY


_ACTIVE = frozenset({TaskPhase.STARTING, TaskPhase.RUNNING, TaskPhase.STOPPING})
_UNDER_WAY = _ACTIVE | {TaskPhase.WAITING, TaskPhase.BACKOFF}


class Health(StrEnum):
    """What the probe says of the current run."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Stage(StrEnum):
    """How far the end of a run has got."""

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
    """When a worker is brought back no more: after ``limit`` restarts within ``window`` seconds."""

    limit: int
    window: float


class Policy(Struct, frozen=True):
    """What the configuration says about one task, as far as its life cycle goes. Durations in seconds."""

    restart: RestartPolicy = "on-failure"
    max_restarts: int | None = 5
    """In a row. None: no limit."""
    backoff: float = 2.0
    probed: bool = False
    probed_once: bool = False
    """A run that was found healthy stays so: what it was found by may be gone."""
    health_interval: float = 10.0
    health_retries: int = 3
    stop_grace: float = 5.0
    quarantine: Quarantine | None = None
    """Of a worker. None: it is none."""

    @property
    def start_grace(self) -> float:
        """How long a run may take to get ready: failures before that are no illness."""
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
    killed: bool = False  # the stop under way was a kill
    stopped_by: str = ""  # while it is being stopped, and stopped: who asked for that
    root_gone: bool = False  # its first process has ended while the hooks before the stop ran
    tree_gone: bool = False  # its last process has ended, and the hooks after the stop run
    reason: str = ""  # why it is where it is, for people
    cause: str = ""  # why the run, or the one that is to come, is started
    waiting_since: float | None = None
    respawns: tuple[float, ...] = ()  # of a worker: when it was brought back lately
    quarantined: bool = False  # it stays down until a person releases it

    def to_dict(self) -> dict[str, Any]:
        """A JSON object that `from_dict` reads back."""
        plain: dict[str, Any] = to_builtins(self)
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TaskState:
        """The state written by `to_dict`, by this version or another one, whose further keys are passed over."""
        return convert(data, cls)

    def taken_over(self, now: float, policy: Policy) -> TaskState:
        """The same for the next supervisor, whose clock may have been set back since: nothing has been later than now,
        no back-off lasts longer than the longest, and no stage of a stop longer than the task is given to end.
        """
        names = ("started_at", "ended_at", "healthy_since", "waiting_since")
        moments: dict[str, float | None] = {name: getattr(self, name) for name in names}
        past = {name: min(moment, now) for name, moment in moments.items() if moment is not None}
        due = self.due
        if due is not None:
            due = min(due, now + (MAX_DELAY if self.phase is TaskPhase.BACKOFF else policy.stop_grace))
        return replace(self, due=due, **past)


# --- inputs


class Start(Struct, frozen=True):
    """Somebody wants it to run."""

    by: str


class Stop(Struct, frozen=True):
    """Somebody wants it to end. ``kill``: with SIGKILL, at once."""

    by: str
    kill: bool = False


class Restart(Struct, frozen=True):
    """Somebody wants a new run, whether or not one is alive."""

    by: str


class DependenciesMet(Struct, frozen=True):
    """All it depends on is as it asked."""


class Spawned(Struct, frozen=True):
    """Its process exists."""

    run: int


class SpawnFailed(Struct, frozen=True):
    """No process came to be. ``retry`` False: trying again would not help (a hook said no).

    ``withdrawn``: it was to stop before there was one, so the launch was given up.
    """

    reason: str
    retry: bool = True
    withdrawn: bool = False


class Exited(Struct, frozen=True):
    """The run ended by itself and its whole tree is gone."""

    exit: Exit


class Lost(Struct, frozen=True):
    """The run is gone with its tmux server or the machine; ``exit`` as far as its guard could note it."""

    reason: str
    exit: Exit = UNKNOWN_EXIT


class StopBegun(Struct, frozen=True):
    """The hooks before the stop have run: the interrupt may go out."""


class StopRefused(Struct, frozen=True):
    """A hook before the stop failed: the stop is off, unless the run has ended meanwhile."""

    reason: str


class RootGone(Struct, frozen=True):
    """The run's first process is gone while the run is being ended; others may be left."""


class TreeGone(Struct, frozen=True):
    """The last process of a run that was being ended is gone: there are but the hooks after the stop."""


class Stopped(Struct, frozen=True):
    """A run that was being ended is over, with all its hooks. ``began``: False if its command was never started."""

    exit: Exit = UNKNOWN_EXIT
    began: bool = True


class Probed(Struct, frozen=True):
    """A probe of the current run has an answer."""

    ok: bool
    detail: str = ""


class Redefined(Struct, frozen=True):
    """Its definition is another one: what it owes to the earlier one is put right."""


class Tick(Struct, frozen=True):
    """Time has passed; `deadline` says when one is due."""


class SessionEnded(Struct, frozen=True):
    """The project is taken down: the next start begins anew."""


Input = (
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
    """Bring a process into being; answer with `Spawned` or `SpawnFailed`."""


class BeginStop(Struct, frozen=True):
    """Run the hooks before a stop; answer with `StopBegun` or `StopRefused`."""


class Signal(Struct, frozen=True):
    """Send the signal of this stage to the run; answer with `TreeGone` and `Stopped` when nothing is left."""

    stage: Stage


class Emit(Struct, frozen=True):
    """Tell everyone."""

    kind: str
    cause: str = ""
    detail: dict[str, Any] = {}
    by: str = "supervisor"
    of_run: bool = True
    """False: it belongs to no run, so least of all to the one before."""


Effect = Launch | BeginStop | Signal | Emit


class Outcome(NamedTuple):
    """What `step` decided."""

    state: TaskState
    effects: tuple[Effect, ...] = ()
