"""Workflows as clients see them: frozen objects made from the summaries that the supervisor sends; see `model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from paneview.control.model import given_fields

FINAL = frozenset({"done", "failed", "cancelled"})
MOST_DOLLARS = 1e9


def dollars(text: str) -> float | None:
    """A budget as a person writes it, such as 2.50 or $3; None if it is not an amount above 0."""
    try:
        value = float(text.strip().removeprefix("$"))
    except ValueError:
        return None
    return value if 0 < value < MOST_DOLLARS else None  # NaN is refused, too


@dataclass(frozen=True, slots=True)
class Usage:
    """What runs have cost. ``cost_usd`` None: not known; ``unpriced``: how many runs have no known price."""

    tokens: int = 0
    cost_usd: float | None = None
    unpriced: int = 0

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The usage in a workflow's or a phase's object."""
        return cls((raw.get("tokens") or {}).get("total") or 0, raw.get("cost_usd"), raw.get("unpriced") or 0)


@dataclass(frozen=True, slots=True)
class PhaseView:
    """One phase. Times are epoch seconds."""

    name: str
    role: str = ""
    status: str = "pending"
    # pending skipped waiting_approval queued running verifying waiting_person done failed cancelled
    reason: str = ""
    attempt: int = 0
    runs: int = 0
    job: str | None = None
    queued_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    not_before: float | None = None  # after a rate limit: when it is tried again
    lines: int | None = None
    waits_for_person: bool = False
    question: str = ""  # that its agent wants to ask a person
    usage: Usage = Usage()

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of a phase object. Raises KeyError if it has no name."""
        return cls(**{**given_fields(cls, raw), "name": raw["name"], "usage": Usage.from_json(raw)})


@dataclass(frozen=True, slots=True)
class FlowView:
    """One workflow. Times are epoch seconds."""

    id: str
    workflow: str = ""  # the name of its definition
    task: str = ""
    status: str = "running"  # preparing running waiting cancelling closing done failed cancelled
    reason: str = ""
    waits_for_person: bool = False
    created_at: float = 0.0
    ended_at: float | None = None
    by: str = ""
    cwd: str = ""
    branch: str | None = None
    conflicts: tuple[dict[str, Any], ...] = ()
    kept: str | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    budget_warned: bool = False
    usage: Usage = Usage()
    phases: tuple[PhaseView, ...] = ()

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The view of a summary or of a whole workflow. Raises KeyError if it has no id."""
        own = {
            "id": raw["id"],
            "conflicts": tuple(raw.get("conflicts") or ()),
            "usage": Usage.from_json(raw),
            "phases": tuple(PhaseView.from_json(phase) for phase in raw.get("phases") or ()),
        }
        return cls(**{**given_fields(cls, raw), **own})

    @property
    def over(self) -> bool:
        """Whether it has ended: nothing more happens by itself."""
        return self.status in FINAL

    @property
    def waiting(self) -> tuple[tuple[str, int], ...]:
        """The phases that wait for a person, each with its attempt; an empty name if the workflow as a whole does."""
        found = tuple((phase.name, phase.attempt) for phase in self.phases if phase.waits_for_person)
        return found or ((("", 0),) if self.waits_for_person else ())

    @property
    def current(self) -> PhaseView | None:
        """The phase to show: one that waits for a person, else one at work, queued or failed, else the last to run."""
        for wanted in (
            ("waiting_approval", "waiting_person"),
            ("running", "verifying"),
            ("queued",),
            ("failed",),
        ):
            for phase in self.phases:
                if phase.status in wanted:
                    return phase
        ran = [phase for phase in self.phases if phase.attempt]
        return ran[-1] if ran else next(iter(self.phases), None)

    def phase(self, name: str) -> PhaseView | None:
        """The phase of this name, if there is one."""
        return next((phase for phase in self.phases if phase.name == name), None)


@dataclass(frozen=True, slots=True)
class PauseView:
    """A runner that is paused."""

    runner: str = ""
    status: str = ""  # rate_limited auth
    reason: str = ""
    until: float | None = None  # epoch seconds; None: until a person resumes it
    host: str = ""
