"""JSON text for what brokers store, nested shallowly enough to be parsed even from deep within a call stack."""

from __future__ import annotations

import json

from paneview.broker.errors import BrokerError
from paneview.broker.model import Attempt, Json

# Levels of nested lists and dicts. Python parses as many levels as its stack has left, a thousand minus those in use:
# text that one process can just about write could crash another, and so every worker in turn.
MOST_NESTED = 200
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def to_json(what: str, value: Json) -> str:
    """Compact ASCII JSON text. Raises `BrokerError` for values that have none; `what` names the value in it."""
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError) as error:
        raise BrokerError(f"{what} cannot be written as JSON: {error}") from error
    except RecursionError:
        raise _too_deep(what) from None
    if text.count("[") + text.count("{") > MOST_NESTED and _deeper(value, MOST_NESTED):
        raise _too_deep(what)
    return text


def to_attempts(errors: str) -> tuple[Attempt, ...]:
    """Parse attempts stored as comma-separated JSON objects."""
    return tuple(Attempt(**attempt) for attempt in json.loads(f"[{errors}]")) if errors else ()


def _deeper(value: Json, levels: int) -> bool:
    """Whether lists and dicts are nested more than so many levels deep."""
    if not isinstance(value, dict | list | tuple):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(one, levels - 1) for one in inner)


def _too_deep(what: str) -> BrokerError:
    return BrokerError(f"{what} cannot be written as JSON: it is nested more than {MOST_NESTED} levels deep")
