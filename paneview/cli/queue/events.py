"""The events of the queue: what happened to jobs and workers, on every host that shares it.

``events --queue`` shows these alone; ``events`` shows them among those of the project, by time.
"""

from __future__ import annotations

import _thread
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from paneview.broker import ALL, BrokerError, UnavailableError
from paneview.cli.errors import CliError, UsageError
from paneview.cli.output import print_json
from paneview.cli.queue.opening import AGAIN, Outage, look_at, opened, place_of, read_only
from paneview.cli.queue.panebus import own_kinds, with_alias
from paneview.cli.times import optional_when
from paneview.config.errors import ConfigError
from paneview.worker.joining import connect_to
from paneview.worker.views import event_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from paneview.broker import Broker, Event
    from paneview.cli.parser import Call
    from paneview.config.queue import QueuePlace

    Json = dict[str, Any]

DEFAULT_LINES = 100
MOST = 10_000  # events of the queue that are read to be shown among the project's
WAIT = 30.0  # seconds of one wait
TOLD_TWICE = 5.0  # seconds within which project and queue both record the same thing
_TOLD_BY_BOTH = ("worker_quarantined", "worker_unquarantined")


class Wanted:
    """The events that the command line asks for."""

    def __init__(self, call: Call) -> None:
        self.since = optional_when(call.text("since"), "--since")
        self.until = optional_when(call.text("until"), "--until")
        self.kinds = own_kinds(call.texts("kind"))
        self.task = call.text("task")
        self._names: dict[str, str] = {}

    def enough(self, limit: int) -> int:
        """How many of the latest events to read so that they most likely hold ``limit`` wanted ones."""
        return MOST if self.kinds or self.task else limit

    def pick(self, broker: Broker, events: Iterable[Event]) -> list[Json]:
        """The wanted ones of these events, as objects with the worker's name where there is one."""
        picked = []
        for event in events:
            if self._is_wanted(event):
                found = self._object(broker, event)
                if self.task in (None, found["task"]):
                    picked.append(found)
        return picked

    def _is_wanted(self, event: Event) -> bool:
        return (
            (not self.kinds or event.kind in self.kinds)
            and (self.since is None or event.ts >= self.since)
            and (self.until is None or event.ts <= self.until)
        )

    def _object(self, broker: Broker, event: Event) -> Json:
        name = event.detail.get("name") if not event.job else None
        if name is None and event.worker:
            if event.worker not in self._names:
                self._names |= {view.worker.id: view.worker.name for view in broker.workers.all()}
            name = self._names.setdefault(event.worker, event.worker[:12])
        facts = [
            f"{key} {value}"
            for key, value in event.detail.items()
            if key != "name" and value not in ("", None)
        ]
        cause = ", ".join([event.job, *facts] if event.job else facts)
        more = {"session": None, "task": name, "run": None, "cause": cause, "actor": None, "source": "queue"}
        return with_alias({**event_json(event), **more})


def queue_events(call: Call) -> int:
    """Show past events of the queue alone, and with ``-f`` new ones as they come."""
    from paneview.cli.events import print_each  # noqa: PLC0415 - it imports this module

    if call.text("task"):
        raise UsageError("--task does not go with --queue", "'paneview jobs --task NAME' shows a task's jobs")
    wanted, lines = Wanted(call), call.count("lines")
    with opened(call) if call.flag("follow") else read_only(call) as broker:
        page = broker.events.tail(ALL if wanted.since is not None or wanted.kinds else lines or DEFAULT_LINES)
        found = wanted.pick(broker, page.events)
        if lines is not None:
            found = found[-lines:] if lines else []
        if not call.flag("follow"):
            if call.json:
                print_json({"ok": True, "events": found, "count": len(found)})
            else:
                print_each(found)
            return 0
        print_each(found, as_json=call.json)
        with suppress(KeyboardInterrupt):
            for new in _new(broker, wanted, page.cursor):
                print_each(new, as_json=call.json)
    return 0


def _new(broker: Broker, wanted: Wanted, cursor: str) -> Iterator[list[Json]]:
    """The wanted events after a cursor as they come, for ever. An outage of the queue is told, and waited out."""
    outage = Outage()
    while True:
        try:
            page = broker.events.wait(cursor, WAIT)
            found = wanted.pick(broker, page.events)
        except UnavailableError as error:
            outage.wait(error)
            continue
        outage.over()
        cursor = page.cursor
        yield found


def among(call: Call, events: list[Json], limit: int) -> tuple[list[Json], list[str]]:
    """The last ``limit`` events of project and queue, by time, and warnings about the queue."""
    try:
        place = place_of(call)
        if not place.in_use:
            return events, []
        wanted = Wanted(call)
        with look_at(place) as broker:
            found = wanted.pick(broker, broker.events.tail(wanted.enough(limit)).events)
    except (ConfigError, CliError, BrokerError) as error:  # a file may be broken while its supervisor runs
        return events, [f"without the queue's events: {error}"]
    return _by_time(events, found, limit), []


def tells_of(call: Call) -> bool:
    """Whether the queue has an event of the wanted task, of any kind and time."""
    wanted = Wanted(call)
    wanted.since, wanted.until, wanted.kinds = None, None, set()
    try:
        place = place_of(call)
        if not place.in_use:
            return False
        with look_at(place) as broker:
            return bool(wanted.pick(broker, broker.events.tail(MOST).events))
    except (ConfigError, CliError, BrokerError):  # reported where the events are shown
        return False


def _by_time(events: list[Json], found: list[Json], limit: int) -> list[Json]:
    told = [(one["event"], one["task"] or one["detail"].get("name"), one["ts"]) for one in events]
    both = [*events, *[one for one in found if not _is_told(one, told)]]
    both.sort(key=lambda one: one["ts"])
    return both[-limit:] if limit else []


def _is_told(event: Json, told: list[tuple[Any, Any, float]]) -> bool:
    return event["event"] in _TOLD_BY_BOTH and any(
        (kind, name) == (event["event"], event["task"]) and abs(ts - event["ts"]) < TOLD_TWICE
        for kind, name, ts in told
    )


class Follower:
    """Passes new events of the queue to ``show`` as they come, from a thread of its own, while the block runs.

    If ``show`` cannot write, the block is interrupted as by Ctrl-C, and its end raises that OSError.
    """

    def __init__(self, call: Call, limit: int, show: Callable[[list[Json]], None]) -> None:
        self._limit = limit
        self._place: QueuePlace | None = None
        with suppress(ConfigError, CliError):  # a file may be broken while its supervisor runs
            self._place = place_of(call, make=True)
        self._wanted = Wanted(call)
        self._show = show
        self._ended = threading.Event()
        self._cursor: str | None = None
        self._broker: Broker | None = None
        self._unwritten: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="queue-events", daemon=True)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            if self._broker is not None:
                self._broker.wake(for_good=True)
            self._thread.join(2.0)
        if self._unwritten is not None:
            raise self._unwritten

    def past(self, events: list[Json]) -> list[Json]:
        """These events of the project and the queue's so far, by time; `begin` goes on from there."""
        if self._place is None or not self._place.in_use:
            return events
        try:
            with connect_to(self._place) as broker:
                page = broker.events.tail(self._wanted.enough(self._limit))
                found = self._wanted.pick(broker, page.events)
        except BrokerError:
            return events
        self._cursor = page.cursor
        return _by_time(events, found, self._limit)

    def begin(self) -> None:
        """Start to pass on new events."""
        if self._place is not None and self._place.in_use:
            self._thread.start()

    def _run(self) -> None:
        assert self._place
        while not self._ended.is_set():
            try:
                with connect_to(self._place) as broker:
                    self._broker = broker
                    self._follow(broker)
            except BrokerError:
                self._ended.wait(AGAIN)

    def _follow(self, broker: Broker) -> None:
        if self._cursor is None:
            self._cursor = broker.events.tail(1).cursor
        while not self._ended.is_set():
            page = broker.events.wait(self._cursor, WAIT)
            self._cursor = page.cursor
            found = self._wanted.pick(broker, page.events)
            if self._ended.is_set():
                return
            try:
                self._show(found)
            except OSError as error:  # above all BrokenPipeError: nobody reads our output any more
                self._unwritten = error
                self._ended.set()
                _thread.interrupt_main()  # it waits for the supervisor, perhaps for ever
