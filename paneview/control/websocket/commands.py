"""The commands of the WebSocket API: one row each, from a client's parameters to a request and back to a reply.

The shapes are taskmux's for the commands that it had; the others look alike. The reply to an action has ``success``
and ``message``; one to a failure has ``"success": false`` and ``error``, even where taskmux reported success for a
task that does not exist. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from paneview.control.errors import ControlError
from paneview.control.protocol import TASKS, Arg, Request, check_args, decode, parse_request, request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable

MAX_MESSAGE = 1024 * 1024  # bytes
TOPICS = frozenset({"state", "events", "heads"})
DEFAULT_TOPICS = ("state", "events")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")

Json = dict[str, Any]


class Asked(NamedTuple):
    """One message of a client: its command, and the id for the reply; or what is wrong with it."""

    id: int | str | None
    command: str = ""
    params: Mapping[str, Any] = MappingProxyType({})
    error: ControlError | None = None


class Command(NamedTuple):
    """How a command becomes a request (`do`) of the control interface, and its result a reply."""

    do: str
    params: Mapping[str, Arg]
    args: Callable[[Json], Json]
    reply: Callable[[Json, Json], Json]


def read(data: str | bytes) -> Json:
    """The object that a message holds. Raises ControlError."""
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if len(raw) > MAX_MESSAGE:
        raise ControlError(f"the message is longer than {MAX_MESSAGE} bytes", "too_large")
    return decode(raw)


def parse(data: str | bytes) -> Asked:
    """Parse a message; what is wrong with it becomes its ``error``."""
    ident = None
    try:
        message = read(data)
        ident = request_id(message)
        command, params = message.get("command"), message.get("params")
        if not isinstance(command, str):
            raise ControlError('the message has no "command"', "bad_request")
        if params is not None and not isinstance(params, dict):
            raise ControlError('"params" is not an object', "bad_request")
    except ControlError as error:
        return Asked(ident, error=error)
    return Asked(ident, command, params or {})


async def answer(asked: Asked, ask: Callable[[Request], Awaitable[Json]]) -> Json:
    """Carry out a command through `ask`, and return the reply. Raises ControlError."""
    if asked.error:
        raise asked.error
    command = COMMANDS.get(asked.command)
    if command is None:
        return {"error": f"Unknown command: {asked.command[:200]}"}
    params = check_args(asked.command, command.params, asked.params)
    result = await ask(parse_request({"do": command.do, "args": command.args(params)}))
    return command.reply(params, result)


def failure(error: ControlError) -> Json:
    """The reply for an error."""
    return {"success": False, "error": error.message, "code": error.code, **error.extra}


def topics_of(asked: Asked) -> frozenset[str]:
    """The topics of a ``subscribe``. Raises ControlError."""
    params = check_args("subscribe", {"topics": Arg("names", list(DEFAULT_TOPICS))}, asked.params)
    topics = frozenset(params["topics"])
    if unknown := sorted(topics - TOPICS):
        raise ControlError(
            f"unknown topic {unknown[0]!r}: there are {', '.join(sorted(TOPICS))}", "bad_request"
        )
    return topics


def _same(params: Json) -> Json:
    return params


def _tasks(params: Json) -> Json:
    """``task`` and ``tasks`` as one list; None, which means all, if there is neither. An empty list means none."""
    if params["tasks"] is None and params["task"] is None:
        return {"tasks": None}
    return {"tasks": [*(params["tasks"] or ()), *([params["task"]] if params["task"] is not None else ())]}


def _named_tasks(params: Json) -> Json:
    """As `_tasks`; without either nothing is done, as in taskmux: JSON drops a name that a script never set."""
    args = _tasks(params)
    if args["tasks"] is None:
        raise ControlError("Task name required", "bad_request")
    return args


def _start(params: Json) -> Json:
    return {**_tasks(params), "deps": params["deps"]}


def _events(params: Json) -> Json:
    kinds = [*(params["kinds"] or ()), *([params["kind"]] if params["kind"] is not None else ())]
    return {**{name: value for name, value in params.items() if name != "kind"}, "kinds": kinds or None}


def _lines(params: Json) -> Json:
    return {"task": params["task"], "first": -params["lines"], "count": params["lines"]}


def _result(_params: Json, result: Json) -> Json:
    return result


def _acted(verb: str) -> Callable[[Json, Json], Json]:
    def reply(params: Json, result: Json) -> Json:
        names = _tasks(params)["tasks"]
        if names is None:
            names = [one["task"] for one in result["results"]]
        return {"success": True, "message": f"{verb} {', '.join(names) or 'no task'}", **result}

    return reply


def _logs(_params: Json, result: Json) -> Json:
    return {
        "success": True,
        "logs": [_COLOUR.sub("", line["text"]) for line in result["lines"]],
        "first": result["lines"][0]["n"] if result["lines"] else result["end"],
        "end": result["end"],
    }


_TASKS = {"task": Arg("text"), "tasks": Arg("names")}
_EVENTS = {**TASKS["events"].args, "kind": Arg("text")}

COMMANDS: dict[str, Command] = {
    "status": Command("status", {}, _same, _result),
    "health": Command("health", {}, _same, _result),
    "events": Command("events", _EVENTS, _events, _result),
    "logs": Command(
        "log_lines", {"task": Arg("text", required=True), "lines": Arg("count", 100)}, _lines, _logs
    ),
    "start": Command("start", {**_TASKS, "deps": Arg("flag", True)}, _start, _acted("Started")),
    "stop": Command("stop", _TASKS, _tasks, _acted("Stopped")),
    "restart": Command("restart", _TASKS, _named_tasks, _acted("Restarted")),
    "kill": Command("kill", _TASKS, _named_tasks, _acted("Killed")),
}
