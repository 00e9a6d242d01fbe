"""What a workflow is and how far it has come: frozen, and JSON both ways, since the broker keeps it.

A `Plan` is a workflow's definition as it was when it was asked for: an edit of the file changes no workflow under way.
A phase's *attempt* grows with every run of it and is never used twice; it names the job, so that a run is submitted
once however often that is tried. Times are epoch seconds; None for money means that nobody knows the price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, Self

from paneview.config.workflows.plans import Json, Plan, fields_in


class PhaseStatus(StrEnum):
    """Where a phase is."""

    PENDING = "pending"
    SKIPPED = "skipped"
    WAITING_APPROVAL = "waiting_approval"
    """A person is to say whether it may begin."""
    QUEUED = "queued"
    RUNNING = "running"
    VERIFYING = "verifying"
    WAITING_PERSON = "waiting_person"
    """It began, and cannot go on without a person: a permission, a login, money."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


WORKING = frozenset({PhaseStatus.QUEUED, PhaseStatus.RUNNING, PhaseStatus.VERIFYING})
WAITING = frozenset({PhaseStatus.WAITING_APPROVAL, PhaseStatus.WAITING_PERSON})
OVER = frozenset({PhaseStatus.SKIPPED, PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.CANCELLED})


class Status(StrEnum):
    """Where a workflow is."""

    PREPARING = "preparing"
    """Its working place is being made."""
    RUNNING = "running"
    WAITING = "waiting"
    """Nothing runs, and a person is needed."""
    CANCELLING = "cancelling"
    """What runs is being ended."""
    CLOSING = "closing"
    """Its work is being committed, and its working place removed."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether it is over: nothing happens any more by itself."""
        return self in (Status.DONE, Status.FAILED, Status.CANCELLED)

    @property
    def open(self) -> bool:
        """Whether how it ends is not decided yet, so that a person can still change that."""
        return self in (Status.PREPARING, Status.RUNNING, Status.WAITING)


@dataclass(frozen=True, slots=True)
class Spent:
    """What runs have cost. ``unpriced``: how many of them have no known price."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cost_usd: float = 0.0
    priced: int = 0
    unpriced: int = 0
    turns: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(Spent)))

    @property
    def tokens(self) -> int:
        """Tokens read and written, the cached ones included."""
        return self.input + self.output + self.cached

    @property
    def known_cost(self) -> float | None:
        """Dollars; None if none of the runs has a known price."""
        return self.cost_usd if self.priced or not self.unpriced else None


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that is over."""

    attempt: int
    outcome: str
    """Its status in the worker's words."""
    spent: Spent = field(default_factory=Spent)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`, by way of JSON."""
        values = fields_in(cls, raw)
        return cls(**{**values, "spent": Spent(**fields_in(Spent, raw["spent"]))})


@dataclass(frozen=True, slots=True)
class Phase:
    """How far a phase has come. Results are those of its last run, if nothing else is said."""

    status: PhaseStatus = PhaseStatus.PENDING
    reason: str = ""
    """Why it is where it is."""
    attempt: int = 0
    """The attempt of its last run; 0: it never ran."""
    runs: int = 0
    """Runs since it last began from the start."""
    failures: int = 0
    """Retries spent."""
    limited: int = 0
    """Rate limits in a row."""
    resumed: bool = False
    """It fell silent once, and was resumed."""
    cleared: bool = False
    """It was let through once: neither its condition nor a person is asked again."""
    feedback: str = ""
    """What the next run is told about the last one."""
    allow: tuple[str, ...] = ()
    """Tools that a person has allowed it."""
    session: str = ""
    """The agent's session, which the next run resumes."""
    session_spent: Spent | None = None
    """Tokens that the whole session has used, if its program reports only that."""
    not_before: float | None = None
    text: str = ""
    data: Json = None
    error: str = ""
    outcome: str = ""
    """The last run's status in the worker's words."""
    denials: tuple[str, ...] = ()
    """Tools it was refused."""
    question: str = ""
    """What it wanted to ask a person."""
    lines: int | None = None
    """Lines changed by all its runs together; None: not known."""
    files: int | None = None
    uncounted: str = ""
    """Why the changes could not be counted, if a condition asks for their number."""
    tree: str = ""
    """What its folder held before its first run, if its changes are counted."""
    verify_code: int | None = None
    spent: Spent = field(default_factory=Spent)
    """Spent by all its runs."""
    history: tuple[PastRun, ...] = ()
    """Its latest runs, also those from before it last began from the start."""
    queued_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`, by way of JSON."""
        values, whole = fields_in(cls, raw), raw.get("session_spent")
        return cls(
            **{
                **values,
                "status": PhaseStatus(raw["status"]),
                "spent": Spent(**fields_in(Spent, raw["spent"])),
                "session_spent": None if whole is None else Spent(**fields_in(Spent, whole)),
                "history": tuple(PastRun.from_json(run) for run in raw.get("history", ())),
                "allow": tuple(values["allow"]),
                "denials": tuple(values["denials"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as it is now."""

    id: str
    plan: Plan
    task: str
    """What was asked."""
    cwd: str
    home: str
    """The host and project whose supervisor advances it."""
    created_at: float
    by: str = ""
    status: Status = Status.PREPARING
    phases: tuple[Phase, ...] = ()
    reason: str = ""
    """Why it is where it is, or how it ended."""
    hold: str = ""
    """Why no phase may begin until a person says so."""
    ending: Literal["", "done", "failed", "cancelled"] = ""
    give_up_at: float | None = None
    """When a cancelled run that does not end counts as ended."""
    deadline: float | None = None
    waiting_since: float | None = None
    warned: bool = False
    """People were told that most of the budget is spent."""
    ended_at: float | None = None
    place: Mapping[str, Json] = field(default_factory=dict)
    """What is known of its working place: path, branch, base, ports, commit."""

    @property
    def spent(self) -> Spent:
        """Spent by all its runs."""
        return sum((phase.spent for phase in self.phases), Spent())

    def index(self, name: str) -> int | None:
        """The index of the phase of this name; None: there is none."""
        for number, phase in enumerate(self.plan.phases):
            if phase.name == name:
                return number
        return None

    def to_json(self) -> dict[str, Json]:
        """As the broker keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, by way of JSON."""
        values = fields_in(cls, raw)
        return cls(
            **{
                **values,
                "plan": Plan.from_json(raw["plan"]),
                "status": Status(raw["status"]),
                "phases": tuple(Phase.from_json(phase) for phase in raw["phases"]),
            }
        )


def begin(id_: str, plan: Plan, task: str, *, cwd: str, home: str, by: str, now: float) -> Workflow:
    """A workflow that was just asked for; from here on, `paneview.rules.workflow.step` changes it."""
    return Workflow(
        id=id_,
        plan=plan,
        task=task,
        cwd=cwd,
        home=home,
        by=by,
        created_at=now,
        deadline=None if plan.timeout is None else now + plan.timeout,
        phases=tuple(Phase() for _ in plan.phases),
    )
