"""The wire format: one JSON object per line, at most 16 MB each, and the table of requests.

Nothing here does I/O. A line that is not a request becomes a `ControlError` which the server sends back; it
never ends the connection, since the next line may be fine. The table of requests is data, so that the server
can refuse an unknown request or a wrong argument in one place, with the argument's name, before a handler
sees it; and each row says what its request does to the record, so that no handler has to.
"""

from __future__ import annotations

import difflib
import json
import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from paneview.control.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_LINE = 16 * 1024 * 1024
MERGES = "+"  # between the names of the tasks whose logs are read as one; no name contains it
TOPICS = frozenset({"state", "events", "heads", "queue", "workflows"})


class Arg(NamedTuple):
    """One argument of a request: its kind (a key of `KINDS`), and its default."""

    kind: str
    default: Any = None
    required: bool = False


Effect = Literal["read", "change", "launch"]
"""What a request does to the project's record.

``read``: nothing, so it is answered even while nothing can be recorded. ``change``: it changes the record, which is on
disk before the reply; or the reply says why it is not (``unrecorded``). ``launch``: it may start processes, for which
it waits for the disk, and it is refused while the project is being taken down.
"""


class Verb(NamedTuple):
    """A request in the table: what it does to the record, and its arguments."""

    effect: Effect
    args: Mapping[str, Arg]


class Request(NamedTuple):
    """One parsed line.

    `client` is the name under which the sender wants to appear in events, if it gave one.
    """

    id: int | str | None
    do: str
    args: dict[str, Any]
    client: str | None


def _is_integer(value: object) -> bool:
    """Whether it is an integer that SQLite accepts."""
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
    "direction": ('"back" or "forward"', lambda value: value in ("back", "forward")),
}


def _read(**args: Arg) -> Verb:
    return Verb("read", args)


def _change(**args: Arg) -> Verb:
    return Verb("change", args)


def _launch(**args: Arg) -> Verb:
    return Verb("launch", args)


_TEXT = Arg("text", required=True)
_COUNT = Arg("count", required=True)
_FLAG = Arg("flag", False)
_NAMES = Arg("names", required=True)
_SOME = Arg("names")  # without it: all

# By what answers them: the session itself or, in the supervisor, the part for tasks, panes, the queue, workflows.
STREAM = {"subscribe": _read(topics=_NAMES), "unsubscribe": _read()}
TASKS = {
    "hello": _read(client=Arg("text")),  # screens of an earlier build send who they are; it is not used
    "status": _read(),
    "health": _read(),
    "inspect": _read(task=_TEXT),
    "events": _read(
        task=Arg("text"),
        kinds=Arg("names"),
        since=Arg("number"),
        until=Arg("number"),
        after=Arg("integer"),
        limit=Arg("count", 100),
    ),
    "log_info": _read(task=_TEXT),
    "log_lines": _read(task=_TEXT, first=Arg("integer", required=True), count=_COUNT),
    "log_find": _read(
        task=_TEXT,
        pattern=_TEXT,
        regex=_FLAG,
        ignore_case=_FLAG,
        start=Arg("integer"),
        direction=Arg("direction", "back"),
        limit=Arg("count", 1),
    ),
    "definition": _read(task=_TEXT),
    "start": _launch(tasks=_SOME, deps=Arg("flag", True)),
    "restart": _launch(tasks=_SOME),
    "scale": _launch(task=_TEXT, replicas=_COUNT),
    "reload": _launch(),
    "define": _launch(task=_TEXT, was=_TEXT, text=_TEXT),
    "stop": _change(tasks=_SOME),
    "kill": _change(tasks=_SOME),
    "down": _change(),
    "logs_clean": _change(tasks=_SOME),
    "websocket": _change(port=Arg("port")),
}
PANES = {  # what is typed into one is not recorded
    "capture": _read(task=_TEXT),
    "screen": _read(task=_TEXT),
    "send_keys": _read(task=_TEXT, keys=_NAMES, literal=_FLAG),
    "paste": _read(task=_TEXT, text=_TEXT),
}
QUEUE = {  # without `jobs`, retry and purge apply to all dead letters
    "queue": _read(),
    "jobs": _read(
        states=Arg("names"),
        target=Arg("text"),
        kind=Arg("text"),
        limit=Arg("count", 100),
        offset=Arg("count", 0),
    ),
    "job": _read(job=_TEXT),
    "job_dispatch": _change(
        target=_TEXT,
        kind=_TEXT,
        payload=Arg("json"),
        priority=Arg("integer", 0),
        delay=Arg("number", 0.0),
        timeout=Arg("number"),
        attempts=Arg("count"),
        key=Arg("text", ""),
    ),
    "job_retry": _change(jobs=_SOME),
    "job_cancel": _change(jobs=_NAMES, reason=Arg("text", "")),
    "job_purge": _change(jobs=_SOME),
    "unquarantine": _change(names=_NAMES),
}
WORKFLOWS = {  # `paneview.supervisor.queue.workflows` describes the replies
    "workflow_plans": _read(),
    "workflows": _read(active=_FLAG, limit=Arg("count", 100), offset=Arg("count", 0)),
    "workflow": _read(id=_TEXT),
    "workflow_result": _read(id=_TEXT),
    "workflow_transcript": _read(
        id=_TEXT, phase=_TEXT, attempt=Arg("count"), offset=Arg("count", 0), limit=Arg("count", 65536)
    ),
    "workflow_diff": _read(id=_TEXT),
    "ask": _change(
        text=_TEXT,
        workflow=Arg("text", "default"),
        cwd=Arg("text"),
        budget_usd=Arg("number"),
        timeout=Arg("number"),
        by=Arg("text"),
        key=Arg("text", ""),
    ),
    "workflow_approve": _change(id=_TEXT, phase=Arg("text"), answer=Arg("text", "")),
    "workflow_reject": _change(id=_TEXT, phase=Arg("text"), why=Arg("text", "")),
    "workflow_resume": _change(id=_TEXT, budget_usd=Arg("number"), budget_tokens=Arg("count")),
    "workflow_cancel": _change(id=_TEXT, why=Arg("text", "")),
    "workflow_retry": _change(id=_TEXT, phase=Arg("text")),
}
REQUESTS = STREAM | TASKS | PANES | QUEUE | WORKFLOWS


def encode(message: Mapping[str, Any]) -> bytes:
    """One line, newline included. ASCII only, so that a lone surrogate from a file name is no error.

    Raises ValueError for NaN or infinity, which no JSON reader but Python's accepts.
    """
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def encode_fragment(value: Any) -> bytes:
    """A value encoded for use inside a line; encoded once, it can go into the lines of many clients."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def decode(line: bytes) -> dict[str, Any]:
    """The object on one line. Raises ControlError if there is none."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        # Bad UTF-8, a number of a million digits, a tower of brackets.
        raise ControlError(f"not JSON: {error}", "bad_request") from None
    if not isinstance(value, dict):
        raise ControlError(f"a request is a JSON object, not {type(value).__name__}", "bad_request")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def request_id(message: Mapping[str, Any]) -> int | str | None:
    """The id to put into the reply; None for one that is neither number nor string."""
    value = message.get("id")
    return value if isinstance(value, int | str) else None


def parse_request(message: Mapping[str, Any]) -> Request:
    """Check a decoded line against the table; missing arguments get their defaults, null counts as missing.

    Raises a ControlError that says what is wrong.
    """
    do = message.get("do")
    if not isinstance(do, str):
        raise ControlError('the request has no "do"', "bad_request")
    verb = REQUESTS.get(do)
    if verb is None:
        raise ControlError(f"unknown request {do[:80]!r}{_nearest(do, REQUESTS)}", "unknown_request")
    args = message.get("args")
    if args is None:
        args = {}
    if not isinstance(args, dict):
        raise ControlError('"args" is not an object', "bad_request")
    client = message.get("client")
    checked = check_args(do, verb.args, args)
    return Request(request_id(message), do, checked, client if isinstance(client, str) else None)


def check_args(do: str, shape: Mapping[str, Arg], args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `do` with defaults filled in. Raises a ControlError that says what is wrong."""
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
    """Splits a stream of bytes into lines, holding at most `limit` bytes; a longer line becomes None.

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
