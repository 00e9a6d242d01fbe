"""What can happen to a workflow: the events that `step` takes. What is then to be done: `effects`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paneview.config.workflows.plans import Json
from paneview.rules.workflow.model import Spent


@dataclass(frozen=True, slots=True)
class Begun:
    """It has just been asked for."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Its working place has been made, or could not be: ``error`` says why."""

    error: str = ""
    place: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker has taken the run."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The worker does not have the run any more: it waits in the queue again."""

    phase: int
    attempt: int
    reason: str = ""
    """Why it may not be taken again for a while; empty if it may be."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run is over. ``status`` is one of the runner's words; an unknown one counts as failed."""

    phase: int
    attempt: int
    status: str
    text: str = ""
    data: Json = None
    error: str = ""
    session: str = ""
    session_gone: bool = False
    """The session that the run was to resume no longer exists."""
    denials: tuple[str, ...] = ()
    question: str = ""
    """What the agent wanted to ask a person."""
    resumed: bool = False
    """It fell silent, and its worker has already resumed it once."""
    reset_at: float | None = None
    lines: int | None = None
    files: int | None = None
    uncounted: str = ""
    """Why the changed lines and files could not be counted; empty if they were, or nobody asked."""
    tree: str = ""
    """The tree that they were counted from."""
    spent: Spent = field(default_factory=Spent)
    session_spent: Spent | None = None
    """Tokens of the whole session, earlier runs included, if the program reports no others: ``spent`` then has them."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The verify command has ended. ``code`` None: it could not be run, or took too long."""

    phase: int
    attempt: int
    code: int | None
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """Its working place has been removed, as far as that was possible."""

    place: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noted:
    """Something more is known about its working place."""

    place: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Approved:
    """A person says yes, to a phase or to all that waits, perhaps in answer to what its agent has asked."""

    phase: int | None = None
    by: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A person says no, to a phase or to all that waits."""

    phase: int | None = None
    why: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A person has removed what it waited for, perhaps by a larger budget."""

    budget_usd: float | None = None
    budget_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """It is to be cancelled."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """What failed is to be done again or, if a phase is given, that phase and all that need it."""

    phase: int | None = None


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Event = (
    Begun
    | Prepared
    | Claimed
    | HandedBack
    | Ran
    | Verified
    | Closed
    | Noted
    | Approved
    | Rejected
    | Resumed
    | CancelAsked
    | RetryAsked
    | Ticked
)
