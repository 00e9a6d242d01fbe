"""What errors of agents and their providers mean: not logged in, a limit and when it ends, or an ordinary failure.

They come as sentences that differ between programs and change over time; the HTTP status behind them takes precedence
if it is known.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from paneview.agents.model import RunStatus

# Whole words that are not part of a path or a name, since programs also print those of files and tests.
_AUTH = re.compile(
    r"(?<![\w./-])(?:not logged in|run [`'\"]?/login|log ?in again|invalid (?:x-)?api[ _-]?key|invalid bearer"
    r"|incorrect api key|api[ _-]?key (?:is |was )?(?:not|missing|invalid|expired)|oauth token (?:has )?expired"
    r"|unauthori[sz]ed|unauthenticated|authentication[ _](?:is )?(?:failed|failure|error|required|expired)"
    r"|(?:failed|unable|able|need|required|please) (?:to )?(?:re-?)?authenticate|please set an auth method"
    r"|(?:403|access|request) (?:is |was )?forbidden|credit balance|insufficient_quota"
    r"|billing (?:details|account|is|has|hard limit|limit|error))(?![\w/-]|\.\w)"
    r"|(?:\b|(?<=\.))AuthenticationError\b",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"rate.?limit|usage limit|limit reached|quota|too many requests|overloaded|resource.?exhausted|hit your limit"
    r"|\b429\b",
    re.IGNORECASE,
)
_HTTP = re.compile(r"\b(?:status(?: code)?|http|error|got)[:\s]+(\d{3})\b", re.IGNORECASE)


def classify(message: str, http: int | None = None) -> RunStatus:
    """The kind of failure that a message, or the HTTP status behind it, stands for."""
    if http is None and (match := _HTTP.search(message)):
        http = int(match[1])
    if http in (401, 402, 403):
        return RunStatus.AUTH
    if http in (429, 529, 503):
        return RunStatus.RATE_LIMITED
    if _AUTH.search(message):
        return RunStatus.AUTH
    return RunStatus.RATE_LIMITED if _RATE.search(message) else RunStatus.FAILED


_GONE = re.compile(
    r"no conversation found with session|no rollout found for thread|error resuming session|session not found",
    re.IGNORECASE,
)


def is_session_gone(message: str) -> bool:
    """Whether a message says that the session to resume does not exist."""
    return _GONE.search(message) is not None


_EPOCH = re.compile(r"(?<!\d)(1[5-9]\d{8}|2\d{9})(?:\d{3})?(?!\d)")
_IN = re.compile(
    r"(?:again|retry|resets?|wait|available)[^.\d]{0,20}?((?:\d+(?:\.\d+)?\s*[a-z]+[,\s]*(?:and\s+)?){1,4})",
    re.IGNORECASE,
)
_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|d|days?|h|hours?|hrs?|m|mins?|minutes?|s|secs?|seconds?)\b"
)
_AT = re.compile(
    r"(?:again|resets?|until)\s+(?:at\s+)?(\d{1,2})(?::(\d{2}))?\s*([ap]m)?(?!\d)\s*(?:\(([A-Za-z_]+/[A-Za-z_]+|UTC)\))?",
    re.IGNORECASE,
)
_SECONDS = {"ms": 0.001, "mi": 0.001, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
FARTHEST = 8 * 86400.0  # seconds: no limit lasts longer than a week


def reset_time(message: str, now: float) -> float | None:
    """When a limit ends according to a message: after a duration, at an instant or a time of day; None if unknown."""
    if (match := _EPOCH.search(message)) and now < int(match[1]) < now + FARTHEST:
        return float(match[1])
    if (match := _IN.search(message)) and (parts := _PART.findall(match[1].lower())):
        wait = sum(float(number) * _unit(unit) for number, unit in parts)
        return now + wait if wait <= FARTHEST else None
    if (match := _AT.search(message)) and (match[2] or match[3]):
        return _next_clock_time(match, now)
    return None


def _unit(word: str) -> float:
    return _SECONDS["ms"] if word.startswith(("ms", "milli")) else _SECONDS[word[0]]


def _next_clock_time(match: re.Match[str], now: float) -> float | None:
    hour, minute = int(match[1]), int(match[2] or 0)
    if match[3]:
        hour = hour % 12 + (12 if match[3].lower() == "pm" else 0)
    if hour > 23 or minute > 59:
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - hardly any run needs it, and all load this module

    try:
        zone = ZoneInfo(match[4]) if match[4] else None
    except (KeyError, ValueError, OSError):  # an unknown time zone
        zone = None
    here = datetime.fromtimestamp(now, zone) if zone else datetime.fromtimestamp(now).astimezone()
    then = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then if then > here else then + timedelta(days=1)).timestamp()
