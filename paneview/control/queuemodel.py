"""The queue as clients see it: frozen objects made from what the supervisor sends, like those of `model`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from paneview.control.flowmodel import PauseView
from paneview.control.model import given_fields

MOST_DEAD = 100  # dead letters that are counted


@dataclass(frozen=True, slots=True)
class LaneView:
    """One target's jobs. `oldest_age_s`: seconds that the oldest job ready to be taken has waited, None if none is."""

    lane: str
    target: str = ""
    queued: int = 0
    delayed: int = 0
    blocked: int = 0
    leased: int = 0
    depth: int = 0
    oldest_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, by its latest incarnation."""

    id: str = ""
    name: str = ""
    host: str = ""
    pid: int = 0
    pane: str | None = None
    roles: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    concurrency: int = 1
    alive: bool = False
    started_at: float = 0.0
    heartbeat_age_s: float = 0.0
    ttl: float = 60.0
    jobs: tuple[str, ...] = ()
    quarantined: bool = False
    reason: str | None = None

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of a worker object."""
        lists = {name: tuple(raw.get(name) or ()) for name in ("roles", "kinds", "jobs")}
        return cls(**{**given_fields(cls, raw), **lists})


@dataclass(frozen=True, slots=True)
class JobView:
    """A job in a list. Times are epoch seconds."""

    id: str
    kind: str = ""
    state: str = "queued"  # queued delayed blocked leased done dead cancelled
    target: str = ""
    priority: int = 0
    attempts: int = 0
    max_attempts: int = 1
    submitted_at: float = 0.0
    submitted_by: str = ""
    not_before: float | None = None
    owner: str | None = None
    leased_at: float | None = None
    ended_at: float | None = None
    cancel: str | None = None  # the reason, if its cancellation was requested
    what: str = ""
    error: str = ""

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of a job object. Raises KeyError if it has no id."""
        return cls(**{**given_fields(cls, raw), "id": raw["id"]})

    @property
    def since(self) -> float:
        """When it entered its state, as far as that is known."""
        times = {
            "leased": self.leased_at,
            "done": self.ended_at,
            "dead": self.ended_at,
            "cancelled": self.ended_at,
        }
        return times.get(self.state) or self.submitted_at


@dataclass(frozen=True, slots=True)
class QueueView:
    """The queue as a whole. ``changes`` grows with everything that happens in it."""

    in_use: bool = False
    broker: str = ""
    problem: str | None = None  # why it does not answer; the rest is then what was last known
    warnings: tuple[str, ...] = ()
    lanes: tuple[LaneView, ...] = ()
    waiting: int = 0
    running: int = 0
    dead: int = 0
    workers: tuple[WorkerView, ...] = ()
    quarantined: dict[str, dict[str, Any]] = field(default_factory=dict)
    paused: tuple[PauseView, ...] = ()  # runners of agents
    host: str = ""
    changes: int = 0

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of a queue object."""
        values = given_fields(cls, raw)
        values["warnings"] = tuple(raw.get("warnings") or ())
        values["lanes"] = tuple(LaneView(**given_fields(LaneView, lane)) for lane in raw.get("lanes") or ())
        values["paused"] = tuple(PauseView(**given_fields(PauseView, one)) for one in raw.get("paused") or ())
        values["workers"] = tuple(WorkerView.from_json(one) for one in raw.get("workers") or ())
        return cls(**values)
