"""The wire format: one JSON object per line, at most 16 MB each, and the table of what may be asked.

Nothing here does I/O. A line that is no request becomes a `ControlError` which the server sends back; it
never ends the connection, since the next line may be fine. The table of requests is data, so that the server
can refuse an unknown request or a wrong argument in one place, with the argument's name, before a handler
sees it.
"""

from __future__ import annotations

import difflib
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from paneview.control.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_LINE = 16 * 1024 * 1024
TOPICS = frozenset({"state", "events", "heads", "queue", "workflows"})


class Arg(NamedTuple):
    """One argument of a request: its kind (a key of `KINDS`), and what it is when left out."""

    kind: str
    default: Any = None
    required: bool = False


class Request(NamedTuple):
    """One parsed line.

    `client` is the name under which the sender wants to appear in events, if it gave one.
    """

    id: int | str | None
    do: str
    args: dict[str, Any]
    client: str | None


def _is_integer(value: object) -> bool:
    """One that SQLite takes."""
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a string", lambda value: isinstance(value, str)),
    "names": ("a list of strings", _is_strings),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "integer": ("an integer of 64 bits", _is_integer),
    "count": ("an integer of 0 or more and 64 bits", lambda value: _is_integer(value) and value >= 0),
    "number": ("a number, an integer one of 64 bits", _is_number),
    "port": ("a port from 1 to 65535", lambda value: _is_integer(value) and 0 < value < 65536),
    "json": ("any JSON value", lambda _: True),
    "direction": ('"back" or "forward"', lambda value: value in {"back", "forward"}),
}

_TASK = Arg("text", required=True)
_TASKS = Arg("names")
_JOBS = Arg("names", required=True)
_FLOW = {"id": Arg("text", required=True)}
REQUESTS: dict[str, dict[str, Arg]] = {
    "hello": {"client": Arg("text", "client")},  # screens of an earlier build say so and nobody reads it
    "status": {},
    "start": {"tasks": _TASKS, "deps": Arg("flag", True)},
    "stop": {"tasks": _TASKS},
    "restart": {"tasks": _TASKS},
    "kill": {"tasks": _TASKS},
    "scale": {"task": _TASK, "replicas": Arg("count", required=True)},
    "inspect": {"task": _TASK},
    "health": {},
    "events": {
        "task": Arg("text"),
        "kinds": Arg("names"),
        "since": Arg("number"),
        "until": Arg("number"),
        "after": Arg("integer"),
        "limit": Arg("count", 100),
    },
    "log_info": {"task": _TASK},
    "log_lines": {
        "task": _TASK,
        "first": Arg("integer", required=True),
        "count": Arg("count", required=True),
    },
    "log_find": {
        "task": _TASK,
        "pattern": Arg("text", required=True),
        "regex": Arg("flag", False),
        "ignore_case": Arg("flag", False),
        "start": Arg("integer"),
        "direction": Arg("direction", "back"),
        "limit": Arg("count", 1),
    },
    "logs_clean": {"tasks": _TASKS},
    "subscribe": {"topics": Arg("names", required=True)},
    "unsubscribe": {},
    "websocket": {"port": Arg("port")},
    "reload": {},
    "definition": {"task": _TASK},
    "define": {"task": _TASK, "was": Arg("text", required=True), "text": Arg("text", required=True)},
    "down": {},
    "capture": {"task": _TASK},
    "screen": {"task": _TASK},
    "send_keys": {"task": _TASK, "keys": Arg("names", required=True), "literal": Arg("flag", False)},
    "paste": {"task": _TASK, "text": Arg("text", required=True)},
    # The queue. Without `jobs`, retry and purge are for all dead letters.
    "queue": {},
    "jobs": {
        "states": Arg("names"),
        "target": Arg("text"),
        "kind": Arg("text"),
        "limit": Arg("count", 100),
        "offset": Arg("count", 0),
    },
    "job": {"job": Arg("text", required=True)},
    "job_dispatch": {
        "target": Arg("text", required=True),
        "kind": Arg("text", required=True),
        "payload": Arg("json"),
        "priority": Arg("integer", 0),
        "delay": Arg("number", 0.0),
        "timeout": Arg("number"),
        "attempts": Arg("count"),
        "key": Arg("text", ""),
    },
    "job_retry": {"jobs": Arg("names")},
    "job_cancel": {"jobs": _JOBS, "reason": Arg("text", "")},
    "job_purge": {"jobs": Arg("names")},
    "unquarantine": {"names": Arg("names", required=True)},
    # Workflows; `paneview.supervisor.workflows` tells what they answer.
    "ask": {
        "text": Arg("text", required=True),
        "workflow": Arg("text", "default"),
        "cwd": Arg("text"),
        "budget_usd": Arg("number"),
        "timeout": Arg("number"),
        "by": Arg("text"),
    },
    "workflow_plans": {},
    "workflows": {"active": Arg("flag", False), "limit": Arg("count", 100), "offset": Arg("count", 0)},
    "workflow": _FLOW,
    "workflow_result": _FLOW,
    "workflow_transcript": {
        **_FLOW,
        "phase": Arg("text", required=True),
        "attempt": Arg("count"),
        "offset": Arg("count", 0),
        "limit": Arg("count", 65536),
    },
    "workflow_diff": _FLOW,
    "workflow_approve": {**_FLOW, "phase": Arg("text")},
    "workflow_reject": {**_FLOW, "phase": Arg("text"), "why": Arg("text", "")},
    "workflow_resume": {**_FLOW, "budget_usd": Arg("number"), "budget_tokens": Arg("count")},
    "workflow_cancel": {**_FLOW, "why": Arg("text", "")},
    "workflow_retry": {**_FLOW, "phase": Arg("text")},
}


def encode(message: Mapping[str, Any]) -> bytes:
    """One line, newline included. ASCII only, so that a lone surrogate from a file name is no error.

    Raises ValueError for NaN or infinity, which no JSON reader but Python's takes.
    """
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def encode_fragment(value: Any) -> bytes:
    """A value as it stands inside a line; encoded once, it can go into the lines of many clients."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def decode(line: bytes) -> dict[str, Any]:
    """The object on one line. Raises ControlError when it is none."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (
        ValueError,
        RecursionError,
    ) as error:  # bad UTF-8, a number of a million digits, a tower of brackets
        raise ControlError(f"not JSON: {error}", "bad_request") from None
    if not isinstance(value, dict):
        raise ControlError(f"a request is a JSON object, not {type(value).__name__}", "bad_request")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def request_id(message: Mapping[str, Any]) -> int | str | None:
    """The id to put into the reply; None for one that is neither number nor string."""
    value = message.get("id")
    return value if isinstance(value, int | str) else None


def parse_request(
    message: Mapping[str, Any], requests: Mapping[str, Mapping[str, Arg]] = REQUESTS
) -> Request:
    """Check a decoded line against the table; left-out arguments get their defaults, null counts as left out.

    Raises ControlError that names what is wrong.
    """
    do = message.get("do")
    if not isinstance(do, str):
        raise ControlError('the request has no "do"', "bad_request")
    shape = requests.get(do)
    if shape is None:
        raise ControlError(f"unknown request {do[:80]!r}{_nearest(do, requests)}", "unknown_request")
    args = message.get("args")
    if args is None:
        args = {}
    if not isinstance(args, dict):
        raise ControlError('"args" is not an object', "bad_request")
    client = message.get("client")
    return Request(
        request_id(message), do, check_args(do, shape, args), client if isinstance(client, str) else None
    )


def check_args(do: str, shape: Mapping[str, Arg], args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `do` with defaults filled in. Raises ControlError that names what is wrong."""
    for name in args:
        if name not in shape:
            raise ControlError(f"{do} takes no argument {name!r}{_nearest(name, shape)}", "bad_request")
    checked = {}
    for name, arg in shape.items():
        value = args.get(name)
        if value is None:
            if arg.required:
                raise ControlError(f"{do} needs the argument {name!r}", "bad_request")
            value = arg.default
        else:
            expected, accepts = KINDS[arg.kind]
            if not accepts(value):
                raise ControlError(f"{do}: {name!r} must be {expected}", "bad_request")
        checked[name] = value
    return checked


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word[:80], known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class LineSplitter:
    """Cuts a stream of bytes into lines, holding at most `limit` bytes; a longer line comes out as None.

    Each byte is looked at once: pieces of an unfinished line are kept apart until its newline comes.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Lines that `data` completes, without their newline."""
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._add(piece)
            if self._skipping:
                yield None
            else:
                yield b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._skipping = False
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            self._skipping = True
            self._parts.clear()
        if not self._skipping and piece:
            self._parts.append(piece)
