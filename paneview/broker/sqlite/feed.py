"""Events: written in the transaction that makes them true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from paneview.broker.interface import Feed
from paneview.broker.jsontext import to_json
from paneview.broker.model import Event, EventPage, Json
from paneview.broker.sqlite.database import Database, Step
from paneview.broker.waiting import EVENTS, Bells

_COLUMNS = "id, ts, kind, job, worker, detail"


def note(
    step: Step, kind: str, job: str = "", worker: str = "", detail: Mapping[str, Json] | None = None
) -> None:
    """Write an event in this transaction."""
    step.events.append((step.wall, kind, job, worker, to_json("an event", detail) if detail else "{}"))
    step.topics.add(EVENTS)


def _to_event(row: Any) -> Event:
    id_, ts, kind, job, worker, detail = row
    return Event(str(id_), ts, kind, job, worker, json.loads(detail))


class SqliteFeed(Feed):
    """See `Feed`."""

    def __init__(self, database: Database, bells: Bells, look: float) -> None:
        self._database = database
        self._waiting = bells, look

    def read(self, after: str = "", limit: int = 1000) -> EventPage:
        """The events after a cursor."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 - our own names
            int(after or 0),
            limit,
        )
        if not rows and int(after or 0) > self._newest():
            return self.read("", limit)  # the cursor is from a file that is gone
        return self._page(rows, after or "0")

    def _newest(self) -> int:
        """The id of the newest event, which is never deleted."""
        return int(self._database.one("SELECT coalesce(max(id), 0) FROM events")[0])

    def tail(self, limit: int = 20) -> EventPage:
        """The newest events."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM events ORDER BY id DESC LIMIT ?",  # noqa: S608 - our own names
            limit,
        )
        return self._page(rows[::-1], "0")

    def _page(self, rows: list[Any], cursor: str) -> EventPage:
        events = tuple(_to_event(row) for row in rows)
        return EventPage(events, events[-1].id if events else cursor)

    def note(
        self, kind: str, *, job: str = "", worker: str = "", detail: Mapping[str, Json] | None = None
    ) -> None:
        """Add an event."""
        with self._database.write() as step:
            note(step, kind, job, worker, detail)

    def _bells(self) -> tuple[Bells, float]:
        return self._waiting
