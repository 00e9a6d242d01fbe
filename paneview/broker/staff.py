"""Who takes jobs: a worker as it registers, and as the others see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paneview.broker.model import Json
from paneview.broker.targets import ANY, Target


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's incarnation, as it registers."""

    id: str
    name: str = ""
    """Its task's name or pane's id, which the next incarnation has, too."""
    host: str = ""
    pid: int = 0
    roles: tuple[str, ...] = ()
    pane: str = ""
    concurrency: int = 1
    ttl: float = 60.0
    """Seconds without a heartbeat after which it counts as lost."""
    meta: Mapping[str, Json] = field(default_factory=dict)
    start: int = 0
    """When its process was started, as `paneview.proc.ProcessId` has it: the kernel hands numbers out again."""
    boot: str = ""
    """The boot of its host in which that counts; empty: an earlier version's, which told neither."""
    pids: str = ""
    """The namespace of its number, as `paneview.proc.pid_space` has it; empty: not known."""

    @classmethod
    def from_json(cls, fields: dict[str, Json]) -> Worker:
        """What `dataclasses.asdict` and JSON have made of one; what later versions add is passed over."""
        known = {name: value for name, value in fields.items() if name in cls.__slots__}
        return cls(**{**known, "roles": tuple(fields["roles"])})

    def heirs(self) -> tuple[str, ...]:
        """The lanes that take over what was addressed to it, the first is taken."""
        lanes = [Target(task=self.name).lane] if self.name else []
        lanes += [Target(role=role).lane for role in self.roles]
        return (*lanes, ANY.lane)


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as the others see it."""

    worker: Worker
    started_at: float
    beat_age: float
    """Seconds since its last sign of life."""
    alive: bool
    """It has neither left nor missed its heartbeats."""
    jobs: tuple[str, ...]
    """Ids of the jobs it holds."""
    quarantined: bool

    def is_one_of(self, role: str, host: str, *, alive_only: bool) -> bool:
        """Whether it has the role, is on the host and alive, as far as that is asked."""
        return (
            (not role or role in self.worker.roles)
            and (not host or host == self.worker.host)
            and (self.alive or not alive_only)
        )
