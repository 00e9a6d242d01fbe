"""Events: a stream whose entries are numbered without gaps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from paneview.broker.interface import Feed
from paneview.broker.jsontext import to_json
from paneview.broker.model import Event, EventPage, Json
from paneview.broker.redis.link import Link
from paneview.broker.waiting import Bells

SLICE = 1.0  # seconds per blocking read, so that `Broker.wake` can end a wait


class RedisFeed(Feed):
    """See `Feed`."""

    def __init__(self, link: Link, bells: Bells, look: float) -> None:
        self._link = link
        self._waiting = bells, look
        self._stream = f"{link.base}events"

    def read(self, after: str = "", limit: int = 1000) -> EventPage:
        """The events after a cursor."""
        start = f"({after}-0" if after else "-"
        client: Any = self._link.client
        entries = self._link.patiently(lambda _again: client.xrange(self._stream, start, "+", count=limit))
        return _page(entries, after or "0") if entries else EventPage((), self._place(after))

    def _place(self, after: str) -> str:
        """The cursor to continue from when no event follows: the newest event, if the server has lost later ones."""
        client: Any = self._link.client
        newest = self._link.patiently(lambda _again: client.get(f"{self._stream}:last"))
        return min(after or "0", newest or "0", key=int)

    def tail(self, limit: int = 20) -> EventPage:
        """The newest events."""
        client: Any = self._link.client
        entries = self._link.patiently(lambda _again: client.xrevrange(self._stream, count=limit))
        return _page(entries[::-1], "0")

    def wait(self, after: str, timeout: float) -> EventPage:
        """Like `read`, but wait for the next event if there is none."""
        bells, _ = self._waiting
        end = time.monotonic() + (0.001 if bells.ended else timeout)
        generation = bells.generation
        while (left := end - time.monotonic()) > 0 and bells.generation == generation:
            if found := self._next(after, min(left, SLICE)):
                return _page(found, after)
            after = self._place(after)
        return EventPage((), self._place(after))

    def _next(self, after: str, timeout: float) -> list[Any]:
        client: Any = self._link.client

        def ask(_again: bool) -> Any:
            return client.xread({self._stream: f"{after or 0}-0"}, 1000, max(1, round(timeout * 1000)))

        found = self._link.patiently(ask)
        if isinstance(found, dict):  # the form of RESP3
            return [entry for entries in found.values() for entry in entries[0]]
        return [entry for _, entries in found or [] for entry in entries]

    def note(
        self, kind: str, *, job: str = "", worker: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Add an event."""
        self._link.call("note", kind, job, worker, to_json("an event", dict(detail or {})))

    def _bells(self) -> tuple[Bells, float]:
        return self._waiting


def _page(entries: list[Any], cursor: str) -> EventPage:
    events = tuple(_to_event(entry_id, entry) for entry_id, entry in entries)
    return EventPage(events, events[-1].id if events else cursor)


def _to_event(entry_id: str, entry: dict[str, str]) -> Event:
    return Event(
        entry_id.partition("-")[0],
        int(entry["ts"]) / 1000,
        entry["kind"],
        entry["job"],
        entry["worker"],
        json.loads(entry["detail"]),
    )
