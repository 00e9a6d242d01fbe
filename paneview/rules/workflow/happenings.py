"""What can happen to a workflow, and what is then to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paneview.config.workflows.plans import Json
from paneview.rules.workflow.model import Spent

# Events


@dataclass(frozen=True, slots=True)
class Begun:
    """It was just put down."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Its working place is made, or could not be."""

    error: str = ""
    place: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker has the run."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The worker does not have the run any more: it waits in the queue again."""

    phase: int
    attempt: int
    reason: str = ""
    """Why it is put away for a while, if it is."""


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
    """There is no such session any more as it was to go on with."""
    denials: tuple[str, ...] = ()
    resumed: bool = False
    """The worker has taken it up again by itself when it fell silent."""
    reset_at: float | None = None
    lines: int | None = None
    files: int | None = None
    uncounted: str = ""
    """Why these two are not known, where they are wanted."""
    spent: Spent = field(default_factory=Spent)
    session_spent: Spent | None = None
    """Tokens of its session with all earlier runs in it, where nothing else is told: then ``spent`` has them, too."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The verify command has ended. ``code`` None: it could not be run, or took too long."""

    phase: int
    attempt: int
    code: int | None
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """Its working place is cleared away, as far as that was possible."""

    place: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noted:
    """Something was found out about its working place."""

    place: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Approved:
    """A person says yes, to a phase or to all that waits."""

    phase: int | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A person says no, to a phase or to all that waits."""

    phase: int | None = None
    why: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A person has seen to what it waits for; perhaps there is more money."""

    budget_usd: float | None = None
    budget_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Nobody wants it any more."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """What failed is to be done again; with a phase: it and all that needs it."""

    phase: int | None = None


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Happening = (
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

# Effects: each may be done again without harm, and is due for as long as the state says so.


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the working place."""


@dataclass(frozen=True, slots=True)
class Run:
    """See to it that this run's job exists, and hear how it ends."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Verify:
    """Run the phase's verify command."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Cancel this run's job."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Close:
    """Commit or salvage what was done, and clear away."""


Effect = Prepare | Run | Verify | Withdraw | Close
