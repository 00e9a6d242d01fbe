"""``events``, and the stream of them that ``watch`` and ``start --monitor`` show as well."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from paneview.cli import place
from paneview.cli.errors import CliError, unknown_task
from paneview.cli.output import again, clean, colourful, complain, paint, print_json
from paneview.cli.queue.panebus import own_kinds, with_alias
from paneview.cli.times import optional_when, stamp
from paneview.control.errors import NoSupervisor
from paneview.text import person

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from paneview.cli.parser import Call
    from paneview.cli.queue.events import Follower
    from paneview.control.blocking import Connection

DEFAULT_LINES = 100
PAGE = 5_000  # events in one reply
QUEUE_BAD = ("dead", "missed", "hung", "quarantined", "expired")
CONFIG_KINDS = frozenset(
    {"config_reloaded", "config_rejected", "task_started", "task_stopped", "task_restarted"}
)
_BAD = ("failed", "unhealthy", "lost", "rejected", "refused", "reached", "gap", "timeout", *QUEUE_BAD)
_GOOD = ("healthy", "ready", "restored", "adopted")


def events(call: Call) -> int:
    """Show past events, and with ``-f`` new ones as they come."""
    if call.flag("queue"):
        from paneview.cli.queue.events import queue_events  # noqa: PLC0415 - another source

        return queue_events(call)
    try:
        here = place.find(call)
    except CliError:
        from paneview.cli.queue.opening import is_alone  # noqa: PLC0415 - without a project

        if not is_alone(call):
            raise
        from paneview.cli.queue.events import queue_events  # noqa: PLC0415 - as above

        return queue_events(call)
    limit = call.count("lines")
    kinds = own_kinds(call.texts("kind"))
    since = optional_when(call.text("since"), "--since")
    wanted: dict[str, Any] = {
        "task": call.text("task"),
        "kinds": sorted(kinds) or None,
        "since": since,
        "until": optional_when(call.text("until"), "--until"),
        "limit": DEFAULT_LINES if limit is None and since is None else limit,
    }
    from paneview.broker import ALL  # noqa: PLC0415 - not for the queue's events alone
    from paneview.cli.queue.events import Follower, among  # noqa: PLC0415 - it imports this module

    most = ALL if wanted["limit"] is None else wanted["limit"]
    if wanted["task"]:
        _check_task(call, here, wanted)
    if call.flag("follow"):
        with Follower(call, most, lambda found: print_each(found, as_json=call.json)) as queue:
            return follow(call, here, wanted, queue=queue)
    found, warnings = among(call, [with_alias(event) for event in _past(here, wanted)], most)
    if not found and most and (kinds or wanted["task"]):
        warnings.append(_what_there_is(_past(here, {**wanted, "task": None, "kinds": None, "limit": PAGE})))
    if call.json:
        warned = {"warnings": warnings} if warnings else {}
        print_json({"ok": True, "events": found, "count": len(found), **warned})
    else:
        print_each(found)
        for warning in warnings:
            print(f"! {clean(warning)}", file=sys.stderr)
    return 0


def _check_task(call: Call, here: place.Place, wanted: dict[str, Any]) -> None:
    """Raise CliError if the file has no such task, and no event is recorded of it or of a worker of that name."""
    from paneview.cli.completion import names_in_file  # noqa: PLC0415 - only with --task

    name, known = wanted["task"], names_in_file(here.file)
    if name in known or name.rpartition(".")[0] in known:
        return
    anything = {**wanted, "kinds": None, "since": None, "until": None, "limit": 1}
    if _past(here, anything):
        return
    from paneview.cli.queue.events import tells_of  # noqa: PLC0415 - loads the broker

    if not tells_of(call):
        recorded = _past(here, {**anything, "task": None, "limit": PAGE})
        raise unknown_task(name, [*known, *{str(event["task"]) for event in recorded if event["task"]}])


def _past(here: place.Place, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return _recorded(here.ask, wanted)
    except NoSupervisor:
        from paneview.cli.offline import stored_events  # noqa: PLC0415

        return stored_events(here.file, here.folder, wanted)


def _what_there_is(found: list[dict[str, Any]]) -> str:
    """A warning that names the recorded kinds and tasks: a name that finds nothing may be misspelt."""
    kinds = sorted({str(event["event"]) for event in found})
    tasks = sorted({str(event["task"]) for event in found if event["task"]})
    if not found:
        return "no event is recorded for that time"
    return f"no such event; recorded are {', '.join(kinds)}" + (f"; of {', '.join(tasks)}" if tasks else "")


def _recorded(
    ask: Callable[[str, dict[str, Any]], dict[str, Any]], wanted: dict[str, Any]
) -> list[dict[str, Any]]:
    """The wanted events: the newest `limit`, or, if that is None, all of them, page by page."""
    if wanted["limit"] is not None:
        return list(ask("events", wanted)["events"])
    found: list[dict[str, Any]] = []
    while page := ask("events", {**wanted, "after": found[-1]["id"] if found else 0, "limit": PAGE})[
        "events"
    ]:
        found += page
    return found


def watch(call: Call) -> int:
    """Show how changes of the file take effect; a supervisor is started if none runs."""
    from paneview.cli.launch import start_supervisor  # noqa: PLC0415

    here = place.find(call)
    try:
        here.hello()
    except NoSupervisor:
        start_supervisor(here, idle=True)
    greeting = None if call.json else f"watching {clean(here.file)}; Ctrl-C ends this, not the supervisor"
    return follow(call, here, kinds=CONFIG_KINDS, greeting=greeting)


def follow(
    call: Call,
    here: place.Place,
    wanted: dict[str, Any] | None = None,
    *,
    kinds: Collection[str] | None = None,
    greeting: str | None = None,
    queue: Follower | None = None,
) -> int:
    """Show the events of `wanted` (None: no past ones), then new ones, until Ctrl-C or the supervisor's end."""
    task = wanted["task"] if wanted else None
    shown = kinds or (wanted["kinds"] if wanted else None)
    try:
        with here.connect() as connection:
            # Subscribe before reading the past: an event in between comes twice, but is shown once.
            connection.call("subscribe", {"topics": ["events"]})
            if greeting:
                print(greeting)
            last = 0
            if wanted:
                past = [with_alias(event) for event in _recorded(connection.call, wanted)]
                last = past[-1]["id"] if past else 0
                print_each(queue.past(past) if queue else past, as_json=call.json)
            if queue:
                queue.begin()
            show(connection, as_json=call.json, task=task, kinds=shown, after=last)
        if not call.json:
            words = "the supervisor has ended, so nothing follows; 'paneview start' starts another"
            complain(again(call, words))
    except KeyboardInterrupt:
        pass
    return 0


def show(
    connection: Connection,
    *,
    as_json: bool,
    task: str | None = None,
    kinds: Collection[str] | None = None,
    after: int = 0,
) -> None:
    """Show the events with an id above `after` that a subscribed connection receives, until it ends."""
    sys.stdout.flush()
    for push in connection.pushes():
        event = push.get("event")
        if not isinstance(event, dict) or event["id"] <= after:
            continue
        if _is_of(event.get("task"), task) and (not kinds or event["event"] in kinds):
            print_each([with_alias(event)], as_json=as_json)


def _is_of(name: str | None, wanted: str | None) -> bool:
    """Whether events of task `name` are `wanted`; the name of a task with replicas stands for all of them."""
    return wanted in {None, name} or (name or "").rpartition(".")[0] == wanted


def print_each(found: Iterable[dict[str, Any]], *, as_json: bool = False) -> None:
    """Print events, one a line."""
    colour = colourful()
    lines = [json.dumps(event) if as_json else line(event, colour) for event in found]
    if lines:
        # A single write, since another thread may print as well.
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()


def line(event: dict[str, Any], colour: bool) -> str:
    """One event as a line: time, kind, task, cause, user."""
    kind = clean(event.get("event"))
    ink = "red" if kind.endswith(_BAD) else "green" if kind.endswith(_GOOD) else None
    parts = [paint(stamp(event["ts"]), "dim", colour), paint(kind.ljust(20), ink, colour)]
    if event.get("task"):
        parts.append(paint(clean(event["task"]), "cyan", colour))
    if event.get("cause"):
        parts.append(clean(event["cause"]))
    if needed := (event.get("detail") or {}).get("needed"):
        parts.append(f"needed {clean(needed)}")
    actor = str(event.get("actor") or "")
    by = f"by {clean(person(actor))}"
    if actor.startswith("user:") and not (event.get("cause") or "").endswith(by):
        parts.append(paint(by, "dim", colour))
    if event.get("panebus") not in (None, event["event"]):
        parts.append(paint(f"({event['panebus']})", "dim", colour))
    return "  ".join(parts).rstrip()
