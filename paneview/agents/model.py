"""What a run is asked for, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

Json = Any
"""What `json` can write."""
Permissions = Literal["read", "edit", "full"]


class RunStatus(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    """It took longer than it may."""
    STALLED = "stalled"
    """It said nothing for longer than it may, also after it was taken up again."""
    NO_RESULT = "no_result"
    """It ended without a result of its own, or without one that fits the schema."""
    RATE_LIMITED = "rate_limited"
    """Its provider lets it do nothing more until ``reset_at``."""
    AUTH = "auth"
    """It is not logged in, or its key or credit is worth nothing."""
    BUDGET = "budget"
    LIMIT = "limit"
    """It took as many turns as it may."""
    NEEDS_PERMISSION = "needs_permission"
    """It was denied something it wanted (``denials``), or asks a person: somebody has to decide."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its shim is gone without a word: killed, or the machine was restarted."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run. What comes from a job (prompt, cwd, schema, budget, resume) is data; the rest is the worker's."""

    run: str
    """Its id: the job's."""
    prompt: str
    cwd: Path
    folder: Path
    """Where everything about it is kept, mode 0700."""
    permissions: Permissions = "read"
    resume: str = ""
    """Session of an earlier run to go on with; empty: begin a new one."""
    schema: Mapping[str, Json] | None = None
    """The JSON Schema its result must fit; None: the result is text."""
    budget_usd: float | None = None
    """None: no limit."""
    allow: tuple[str, ...] = ()
    """Tools that a person has allowed it besides."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the agent."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Usage of a run; None: unknown."""

    input: int | None = None
    """Without those that came from a cache."""
    output: int | None = None
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """Something an agent wanted and was not allowed."""

    tool: str
    input: Json = None
    """What it wanted to do with it."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What came of a run. Secrets are redacted in all of it. Times are epoch seconds."""

    status: RunStatus
    text: str = ""
    """The agent's last word."""
    data: Json = None
    """Its result as JSON that fits the schema; None without a schema, or if it does not fit."""
    error: str = ""
    """One sentence on why it is not ``ok``."""
    session: str = ""
    """Give it to a next run to go on from here; empty: the program knows no sessions."""
    tokens: Tokens = Tokens()
    cost_usd: float | None = None
    """None: unpriced, nobody knows."""
    turns: int | None = None
    reset_at: float | None = None
    """When a rate limit ends, as far as it was told."""
    denials: tuple[Denial, ...] = ()
    exit_code: int | None = None
    """Of the agent's process; negative: its signal; None: nobody saw it."""
    started: float = 0.0
    ended: float = 0.0
    resumed: int = 0
    """How often it was taken up again within this run."""
    files: tuple[str, ...] = ()
    """The transcript and its kin, relative to the run's folder."""
    session_tokens: Tokens | None = None
    """What its session has used, with all earlier runs in it, where the program tells no more than that."""
    session_gone: bool = False
    """The session that it was to go on with is not there any more: only a new one can do the work."""
    earlier: float = 0.0
    """Seconds that earlier attempts of the same job took, whose usage is in this one's."""

    @property
    def ok(self) -> bool:
        """Whether the phase was done."""
        return self.status is RunStatus.OK

    def after(self, first: RunOutcome) -> RunOutcome:
        """This with what a process before it has used; of what nobody told, the other's part is known at least."""
        session = "" if self.session_gone else self.session or first.session
        same = session == first.session
        tokens = Tokens(
            _sum(first.tokens.input, self.tokens.input),
            _sum(first.tokens.output, self.tokens.output),
            _sum(first.tokens.cached, self.tokens.cached),
        )
        return replace(
            self,
            session=session,
            tokens=self.tokens if same and self.session_tokens is not None else tokens,
            session_tokens=self.session_tokens or (first.session_tokens if same else None),
            cost_usd=_sum(first.cost_usd, self.cost_usd),
            turns=_sum(first.turns, self.turns),
        )

    def used(self) -> RunOutcome:
        """What the next attempt of the same job needs of it: its usage, and the time that it took."""
        took = self.earlier + max(0.0, self.ended - self.started)
        return replace(self, text="", data=None, denials=(), files=(), earlier=took)

    def to_json(self) -> dict[str, Json]:
        """A dict for `json`; `from_json` reads it."""
        return {**asdict(self), "status": self.status.value, "files": list(self.files),
                "denials": [asdict(denial) for denial in self.denials]}  # fmt: skip

    @classmethod
    def from_json(cls, given: Mapping[str, Json]) -> RunOutcome:
        """What `to_json` made. Keys of a later version are left out. Raises ValueError, TypeError, KeyError."""
        known = {name: given[name] for name in _NAMES if name in given}
        known["status"] = RunStatus(given["status"])
        known["tokens"] = Tokens(**(given.get("tokens") or {}))
        if (whole := given.get("session_tokens")) is not None:
            known["session_tokens"] = Tokens(**whole)
        known["denials"] = tuple(Denial(**denial) for denial in given.get("denials") or ())
        known["files"] = tuple(given.get("files") or ())
        return cls(**known)


def _sum(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other


_NAMES = frozenset(item.name for item in fields(RunOutcome))
