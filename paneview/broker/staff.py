"""Workers: as they register, and as others see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from paneview.broker.model import Json
from paneview.broker.targets import ANY, Target


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker as it registers: one process, of those that bear its name one after another."""

    id: str
    name: str = ""
    """Its task's name or pane's id, which the next incarnation shares."""
    host: str = ""
    pid: int = 0
    roles: tuple[str, ...] = ()
    pane: str = ""
    concurrency: int = 1
    ttl: float = 60.0
    """Seconds without a heartbeat after which it counts as lost."""
    meta: Mapping[str, Json] = field(default_factory=dict)
    start: int = 0
    """When its process started, as in `paneview.proc.ProcessId`, because the kernel reuses pids."""
    boot: str = ""
    """The boot of its host to which `start` refers; empty for an earlier version, which recorded neither."""
    pids: str = ""
    """Its pid namespace, as from `paneview.proc.pid_space`; empty if not known."""

    @classmethod
    def from_json(cls, fields: dict[str, Json]) -> Registration:
        """Read one from the JSON of `dataclasses.asdict`; fields that later versions add are ignored."""
        known = {name: value for name, value in fields.items() if name in cls.__slots__}
        return cls(**{**known, "roles": tuple(fields["roles"])})

    def heirs(self) -> tuple[str, ...]:
        """The lanes that could take over jobs addressed to it, in order of preference."""
        lanes = [Target(task=self.name).lane] if self.name else []
        lanes += [Target(role=role).lane for role in self.roles]
        return (*lanes, ANY.lane)


class WorkerView(NamedTuple):
    """A worker as others see it."""

    worker: Registration
    started_at: float
    beat_age: float
    """Seconds since its last sign of life."""
    alive: bool
    """Whether it has neither left nor missed its heartbeats."""
    jobs: tuple[str, ...]
    """Ids of the jobs it holds."""
    quarantined: bool

    def is_one_of(self, role: str, host: str, *, alive_only: bool) -> bool:
        """Whether it matches; an empty role or host matches any worker."""
        return (
            (not role or role in self.worker.roles)
            and (not host or host == self.worker.host)
            and (self.alive or not alive_only)
        )
