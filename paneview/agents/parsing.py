"""Parsing what an agent prints, line by line: what to show of it, and how the run ended.

A parser is fed lines as they come and never raises, whatever they contain: programs print warnings between their JSON,
and their events change. How the run ended comes from the agent's own last event alone; the exit code matters only for
a run without one.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, Literal, NamedTuple

from paneview.agents.failures import classify, reset_time
from paneview.agents.model import Denial, RunOutcome, RunStatus, Tokens
from paneview.config.nesting import DEEPEST, is_too_deep
from paneview.text import last_of

Event = Mapping[str, Any]
Kind = Literal["text", "tool", "result", "retry", "warning", "raw"]
MOST_TEXT = 1_000_000  # characters kept of a result
# Lines in which a program says why it ends: the message, and what it prints of an error object.
LAST_WORDS = 5
_FRAME = re.compile(r"\s+(?:at|\d+:) |Stack backtrace:$")  # a stack frame, as JavaScript and Rust print it


class Shown(NamedTuple):
    """A piece of a run's output to show."""

    kind: Kind
    text: str


class Parser:
    """The base of all parsers; those for JSON override `take`, others `feed`."""

    CUMULATIVE = False
    """Whether the reported usage is that of the whole session, earlier runs included."""

    def __init__(self) -> None:
        self.session = ""
        self.text = ""
        """The last thing the agent said."""
        self.concluded = False
        """Whether the agent's last event has come: what follows is only cleaning up."""
        self.status: RunStatus | None = None
        self.error = ""
        self.data: Any = None
        self.tokens = Tokens()
        self.cost: float | None = None
        self.turns: int | None = None
        self.reset_at: float | None = None
        self.denials: tuple[Denial, ...] = ()
        self.question = ""
        self.patience = 0.0
        """Seconds for which the agent has announced to be silent, because it waits before a retry."""

    def feed(self, line: str) -> list[Shown]:
        """Read a line; returns what to show of it."""
        if not line.strip():
            return []
        event = json_object(line)
        if event is None:
            return [Shown("raw", line)]
        self.patience = 0.0
        return self.take(event)

    def take(self, event: Event) -> list[Shown]:
        """Read an event; returns what to show of it."""
        return [Shown("raw", json.dumps(event))]

    def log(self, text: str) -> None:
        """Read the program's log file, if its preset names one."""

    def end(self, code: int | None, errors: str) -> RunOutcome:
        """The outcome, given the exit code of the process and the end of its standard error."""
        status, error = self.status, self.error
        if status is None:
            status, error = self.judge(code, errors)
        if status is RunStatus.OK and self.denials:
            status = RunStatus.NEEDS_PERMISSION
            error = "it was not allowed to use " + ", ".join(dict.fromkeys(one.tool for one in self.denials))
        elif status is RunStatus.OK and self.question:
            status, error = RunStatus.NEEDS_PERMISSION, f"it asks: {self.question}"
        return RunOutcome(
            status, text=last_of(self.text, MOST_TEXT), data=self.data, error=error, session=self.session,
            tokens=self.tokens, cost_usd=self.cost, turns=self.turns, reset_at=self.reset_at,
            denials=self.denials, question=self.question, exit_code=code,
            session_tokens=self.tokens if self.CUMULATIVE and self.tokens != Tokens() else None,
        )  # fmt: skip

    def judge(self, code: int | None, errors: str) -> tuple[RunStatus, str]:
        """Status and error of a run without a last event."""
        last = last_line(last_words(errors))
        if code == 0:
            return RunStatus.NO_RESULT, "it ended without a result" + (f": {last}" if last else "")
        return self.why(errors), f"{how(code)}" + (f": {last}" if last else "")

    def why(self, errors: str) -> RunStatus:
        """The kind of failure with which its standard error ends."""
        words = last_words(errors)
        self.reset_at = self.reset_at or reset_time(words, time.time())
        return classify(words)

    def say(self, text: str) -> list[Shown]:
        """Handle a message of the agent."""
        if not text.strip():
            return []
        self.text = text
        return [Shown("text", text)]

    def fail(self, message: str, http: int | None = None) -> None:
        """Handle a last event that reports an error."""
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
    """The last line that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[:500]


def last_words(text: str) -> str:
    """The last lines that are neither blank nor stack frames: those above belong to the work, not to its end."""
    lines = (line for line in reversed(text.splitlines()) if line.strip() and not _FRAME.match(line))
    return "\n".join(reversed(list(islice(lines, LAST_WORDS))))


# Reading untrusted JSON


def json_object(line: str) -> dict[str, Any] | None:
    """The JSON object on a line; None if it is not one, or is nested too deeply for those that process it later."""
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


# NaN, 1e999 and the like, which Python accepts but JSON doesn't, become null, as in JavaScript: no queue takes them.
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
    """An integer, None if there is none."""
    found = number_of(event, key)
    return None if found is None else int(found)


def priced(cost: float | None, tokens: Tokens) -> float | None:
    """The cost that a program computed, or None (unpriced) if it is 0 although tokens were used."""
    return None if cost == 0 and (tokens.input or tokens.output) else cost


def call_text(tool: str, given: Any) -> str:
    """A tool call on one line."""
    if isinstance(given, dict) and given:
        known = next((key for key in _TELLING if isinstance(given.get(key), str)), None)
        given = given[known] if known else json.dumps(given, ensure_ascii=False)
    words = f"{tool} {given}" if given else tool
    return " ".join(str(words).split())


_TELLING = ("command", "file_path", "filePath", "path", "pattern", "query", "url", "prompt", "question")
