"""What brokers store, as JSON text that whoever reads it can read: also one who is deep in calls of its own already."""

from __future__ import annotations

import json

from paneview.broker.errors import BrokerError
from paneview.broker.model import Attempt, Json

# Lists and dicts within each other. Python reads as many levels as its stack has left, which is a thousand less what
# is on it: text that one process can just about write, another would fall over, and so every worker in turn.
MOST_NESTED = 200
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def to_json(what: str, value: Json) -> str:
    """JSON text, short, in ASCII. Raises `BrokerError` for what is none."""
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
    """The attempts stored as objects with a comma between them."""
    return tuple(Attempt(**attempt) for attempt in json.loads(f"[{errors}]")) if errors else ()


def _deeper(value: Json, levels: int) -> bool:
    """Whether lists and dicts lie within each other more than so many levels deep."""
    if not isinstance(value, dict | list | tuple):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(one, levels - 1) for one in inner)


def _too_deep(what: str) -> BrokerError:
    return BrokerError(f"{what} cannot be written as JSON: it is nested more than {MOST_NESTED} levels deep")
