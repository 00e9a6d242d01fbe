"""Reading what an agent prints, line by line: what to show of it, and how it ended.

A parser is fed lines as they come and never raises, whatever is in them: programs print warnings between their JSON,
and their events change. It knows how the run ended from the agent's own last event alone; an exit code only tells
more about a run that has none.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from paneview.agents.failures import classify, reset_time
from paneview.agents.model import Denial, RunOutcome, RunStatus, Tokens
from paneview.config.nesting import DEEPEST, is_too_deep

Event = Mapping[str, Any]
Kind = Literal["text", "tool", "result", "retry", "warning", "raw"]
LONGEST = 400  # characters of a tool call that are shown
MOST_TEXT = 1_000_000  # characters that are kept of a result
# Lines in which a program says why it ends: the message, and what it prints of an error object.
LAST_WORDS = 5
_FRAME = re.compile(r"\s+(?:at|\d+:) |Stack backtrace:$")  # of a stack, as JavaScript and Rust print it


@dataclass(frozen=True, slots=True)
class Shown:
    """Something to show of a run."""

    kind: Kind
    text: str


class Parser:
    """What all parsers have; those for JSON override `take`, others `feed`."""

    CUMULATIVE = False
    """Whether the usage that it reads is its session's, with all earlier runs in it."""

    def __init__(self) -> None:
        self.session = ""
        self.text = ""
        """The last thing the agent said."""
        self.concluded = False
        """Its own last event has come: all that follows is tidying up."""
        self.status: RunStatus | None = None
        self.error = ""
        self.data: Any = None
        self.tokens = Tokens()
        self.cost: float | None = None
        self.turns: int | None = None
        self.reset_at: float | None = None
        self.denials: tuple[Denial, ...] = ()
        self.patience = 0.0
        """Seconds that the agent has announced to be silent for: it waits before it tries again."""

    def feed(self, line: str) -> list[Shown]:
        """Read a line; what to show of it."""
        if not line.strip():
            return []
        event = json_object(line)
        if event is None:
            return [Shown("raw", line)]
        self.patience = 0.0
        return self.take(event)

    def take(self, event: Event) -> list[Shown]:
        """Read an event; what to show of it."""
        return [Shown("raw", json.dumps(event))]

    def log(self, text: str) -> None:
        """Read what the program wrote beside its output, if its preset names a file for that."""

    def end(self, code: int | None, errors: str) -> RunOutcome:
        """How it ended, now that its process has: its exit code and the end of its standard error."""
        status, error = self.status, self.error
        if status is None:
            status, error = self.judge(code, errors)
        if status is RunStatus.OK and self.denials:
            status = RunStatus.NEEDS_PERMISSION
            error = "it was not allowed to use " + ", ".join(dict.fromkeys(one.tool for one in self.denials))
        return RunOutcome(
            status, text=self.text[-MOST_TEXT:], data=self.data, error=error, session=self.session, tokens=self.tokens,
            cost_usd=self.cost, turns=self.turns, reset_at=self.reset_at, denials=self.denials, exit_code=code,
            session_tokens=self.tokens if self.CUMULATIVE and self.tokens != Tokens() else None,
        )  # fmt: skip

    def judge(self, code: int | None, errors: str) -> tuple[RunStatus, str]:
        """Status and reason of a run without an end of its own."""
        last = last_line(last_words(errors))
        if code == 0:
            return RunStatus.NO_RESULT, "it ended without a result" + (f": {last}" if last else "")
        return self.why(errors), f"{how(code)}" + (f": {last}" if last else "")

    def why(self, errors: str) -> RunStatus:
        """What kind of failure its standard error ends with."""
        words = last_words(errors)
        self.reset_at = self.reset_at or reset_time(words, time.time())
        return classify(words)

    def say(self, text: str) -> list[Shown]:
        """The agent said something."""
        if not text.strip():
            return []
        self.text = text
        return [Shown("text", text)]

    def fail(self, message: str, http: int | None = None) -> None:
        """It ended with an error of its own."""
        self.concluded = True
        self.status = classify(message, http)
        self.error = message or "it failed, and does not say why"
        if self.status is RunStatus.RATE_LIMITED:
            self.reset_at = reset_time(message, time.time()) or self.reset_at


def how(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "nobody saw how it ended"
    return f"it ended with exit code {code}" if code >= 0 else f"it was ended by signal {-code}"


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[:500]


def last_words(text: str) -> str:
    """The last lines that say something: what stands above them is of the work, and not of its end."""
    lines = (line for line in reversed(text.splitlines()) if line.strip() and not _FRAME.match(line))
    return "\n".join(reversed(list(islice(lines, LAST_WORDS))))


# Reading JSON that may be anything


def json_object(line: str) -> dict[str, Any] | None:
    """The object that a line is; None: it is none, or one that lies too deep in itself for whoever is given it."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or (line.count("{") + line.count("[") > DEEPEST and is_too_deep(found)):
        return None
    return found


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


# What is no JSON, though Python reads it (NaN, 1e999), is null, as JavaScript writes it: no queue takes it.
_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def text_of(event: Event, key: str) -> str:
    """A string, empty if there is none."""
    found = event.get(key)
    return found if isinstance(found, str) else ""


def dict_of(event: Event, key: str) -> dict[str, Any]:
    """An object, empty if there is none."""
    found = event.get(key)
    return found if isinstance(found, dict) else {}


def dicts_of(event: Event, key: str) -> list[dict[str, Any]]:
    """The objects in a list."""
    found = event.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def number_of(event: Event, key: str) -> float | None:
    """A finite number, None if there is none."""
    found = event.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or abs(found) >= 1e15 or found != found:  # noqa: PLR0124 - NaN
        return None
    return float(found)


def count_of(event: Event, key: str) -> int | None:
    """A whole number, None if there is none."""
    found = number_of(event, key)
    return None if found is None else int(found)


def priced(cost: float | None, tokens: Tokens) -> float | None:
    """A cost that somebody has worked out: nothing for work that was done means that there is no price for it."""
    return None if cost == 0 and (tokens.input or tokens.output) else cost


def call_text(tool: str, given: Any) -> str:
    """A tool call on one line."""
    if isinstance(given, dict) and given:
        known = next((key for key in _TELLING if isinstance(given.get(key), str)), None)
        given = given[known] if known else json.dumps(given, ensure_ascii=False)
    words = f"{tool} {given}" if given else tool
    words = " ".join(str(words).split())
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"


_TELLING = ("command", "file_path", "filePath", "path", "pattern", "query", "url", "prompt", "question")
