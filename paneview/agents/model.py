"""A run's request and its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from paneview.config.workflows.roles import Permissions

Json = Any
"""What `json` can write."""


class RunStatus(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    """It took longer than allowed."""
    STALLED = "stalled"
    """It was silent for longer than allowed, also after it was resumed."""
    NO_RESULT = "no_result"
    """It ended without a result, or without one that fits the schema."""
    RATE_LIMITED = "rate_limited"
    """Its provider refuses further requests until ``reset_at``."""
    AUTH = "auth"
    """It is not logged in, its key is invalid or its credit used up."""
    BUDGET = "budget"
    LIMIT = "limit"
    """It took as many turns as allowed."""
    NEEDS_PERMISSION = "needs_permission"
    """It was denied a tool (``denials``) or has a question: a person must decide."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its shim is gone without an outcome: killed, or the machine was restarted."""


class RunRequest(NamedTuple):
    """A run to do. What comes from the job (prompt, cwd, schema, budget, resume) is data; the worker sets the rest."""

    run: str
    """Its id: the job's."""
    prompt: str
    cwd: Path
    folder: Path
    """The run's folder, mode 0700."""
    permissions: Permissions = "read"
    resume: str = ""
    """Session of an earlier run to resume; empty: begin a new one."""
    schema: Mapping[str, Json] | None = None
    """The JSON Schema its result must fit; None: the result is text."""
    budget_usd: float | None = None
    """None: no limit."""
    allow: tuple[str, ...] = ()
    """Additional tools that a person has allowed."""
    env: Mapping[str, str] = {}
    """The whole environment of the agent."""


class Tokens(NamedTuple):
    """Token usage of a run; None: unknown."""

    input: int | None = None
    """Without those read from a cache."""
    output: int | None = None
    cached: int | None = None


class Denial(NamedTuple):
    """A tool use that an agent was denied."""

    tool: str
    input: Json = None
    """The tool's intended input."""


class RunOutcome(NamedTuple):
    """The outcome of a run, with all secrets masked. Times are epoch seconds."""

    status: RunStatus
    text: str = ""
    """The agent's last message."""
    data: Json = None
    """Its result as JSON that fits the schema; None without a schema, or if it does not fit."""
    error: str = ""
    """One sentence on why it is not ``ok``."""
    session: str = ""
    """Pass it to a later run to resume from here; empty: the program has no sessions."""
    tokens: Tokens = Tokens()
    cost_usd: float | None = None
    """None: unpriced, i.e. unknown."""
    turns: int | None = None
    reset_at: float | None = None
    """When a rate limit ends, if known."""
    denials: tuple[Denial, ...] = ()
    question: str = ""
    """What it wanted to ask a person."""
    exit_code: int | None = None
    """The agent's exit code; negative: its signal; None: unknown."""
    started: float = 0.0
    ended: float = 0.0
    resumed: int = 0
    """How many times it was resumed within this run."""
    files: tuple[str, ...] = ()
    """The transcript and other kept files, relative to the run's folder."""
    session_tokens: Tokens | None = None
    """The usage of the whole session, earlier runs included, if the program reports only that."""
    session_gone: bool = False
    """The session to resume no longer exists: only a new one can do the work."""
    earlier: float = 0.0
    """Seconds that earlier attempts of the same job took, whose usage is included here."""

    @property
    def ok(self) -> bool:
        """Whether the run succeeded."""
        return self.status is RunStatus.OK

    def after(self, first: RunOutcome) -> RunOutcome:
        """This outcome with the usage of the process before it; what one of them doesn't know comes from the other."""
        session = "" if self.session_gone else self.session or first.session
        same = session == first.session
        tokens = Tokens(
            _sum(first.tokens.input, self.tokens.input),
            _sum(first.tokens.output, self.tokens.output),
            _sum(first.tokens.cached, self.tokens.cached),
        )
        return self._replace(
            session=session,
            tokens=self.tokens if same and self.session_tokens is not None else tokens,
            session_tokens=self.session_tokens or (first.session_tokens if same else None),
            cost_usd=_sum(first.cost_usd, self.cost_usd),
            turns=_sum(first.turns, self.turns),
        )

    def used(self) -> RunOutcome:
        """The part the next attempt of the same job needs: the usage, and the time it took."""
        took = self.earlier + max(0.0, self.ended - self.started)
        return self._replace(text="", data=None, denials=(), question="", files=(), earlier=took)

    def to_json(self) -> dict[str, Json]:
        """A dict for `json`, to be read by `from_json`."""
        whole = self.session_tokens
        return {
            **self._asdict(),
            "status": self.status.value,
            "tokens": self.tokens._asdict(),
            "session_tokens": None if whole is None else whole._asdict(),
            "files": list(self.files),
            "denials": [denial._asdict() for denial in self.denials],
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Json]) -> RunOutcome:
        """Read what `to_json` returned, ignoring keys of later versions. Raises ValueError, TypeError, KeyError."""
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


_NAMES = frozenset(RunOutcome._fields)
