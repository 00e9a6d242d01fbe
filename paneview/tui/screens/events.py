"""The screen of events: all that happened, with a filter, and the full text of the selected event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip
from textual.widget import Widget

from paneview.control.model import EventView
from paneview.tui.happenings import happening
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.question import Question
from paneview.tui.screens.base import MainScreen
from paneview.tui.text import clean, cut, wrap
from paneview.tui.widgets.canvas import PLAIN, Canvas, line, spread
from paneview.tui.widgets.header import Header
from paneview.tui.widgets.listing import CURSOR, Listing
from paneview.tui.widgets.news import SUBJECT, event_pieces, longest_subject, most_subject, with_previous
from paneview.tui.widgets.rowfilter import RowFilter
from paneview.tui.words import clock, dated


class EventList(Listing):
    """Events, oldest first; the cursor stays at the newest until it is moved."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, empty=self._why_empty)
        self.filter = RowFilter(inverts=False)
        self.events: dict[str, EventView] = {}
        self._before: dict[str, EventView | None] = {}
        self._longest = 0

    @property
    def event(self) -> EventView | None:
        """The selected event."""
        return self.events.get(self.cursor or "")

    def set_filter(self, text: str) -> None:
        """Show only events that match; an empty text shows all."""
        self.filter = RowFilter(text, inverts=False)
        self.update()

    def update(self) -> None:
        """Show the picture's events."""
        at_end = not self.keys or self.cursor == self.keys[-1]
        shown = self.filter.choose(self.pv.picture.events, _texts)
        self.events = {str(event.id): event for event in shown}
        self._before = {str(event.id): before for event, before in with_previous(shown)}
        self._longest = longest_subject(shown)
        keys = list(self.events)
        self.set_keys(keys, cursor=keys[-1] if at_end and keys else None)

    def heading(self, width: int) -> Strip | None:
        """How to see the earlier events, if there are any."""
        if not self.pv.picture.earlier_events:
            return None
        told = f" newest {len(self.pv.picture.events):,}; earlier ones: paneview events -n NUMBER"
        return line(width, self.inks.base, (cut(told, width), self.inks.dim))

    def row(self, key: str, width: int, style: Style) -> Strip:
        """The line of one event."""
        mark = (CURSOR if key == self.cursor else " ", self.inks.accent)
        subject = max(SUBJECT, min(self._longest, most_subject(width)))
        return line(
            width, style, mark, *event_pieces(self.events[key], self.inks, subject, self._before[key])
        )

    def _why_empty(self) -> str:
        if not self.filter.text:
            return "Nothing has happened yet"
        return f"No event matches {self.filter.told}. Esc clears the filter"


def _texts(event: EventView) -> tuple[str]:
    return (f"{event.task} {event.kind} {happening(event).text}",)


class EventText(Canvas):
    """Everything that is known about one event."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.event: EventView | None = None

    def show(self, event: EventView | None) -> None:
        """Show this event."""
        self.event = event
        self.redraw()

    def paint(self, width: int, height: int) -> list[Strip]:
        """A rule, and the event as it was recorded."""
        inks, event = self.inks, self.event
        title = f"event {event.id} " if event and event.id > 0 else "event "  # the screen's own have no id
        if event is not None and (when := dated(event.ts, self.pv.picture.clock())) != clock(event.ts):
            title += f"· {when} "  # the list has only the time of day
        strips = [spread(width, inks.base, [("── ", inks.rule), (title, inks.title)], [], ("─", inks.rule))]
        if event is None:
            return strips
        facts = {
            "kind": event.kind,
            "task": event.task,
            "run": event.run,
            "cause": event.cause,
            "actor": event.actor,
        }
        shown = "  ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        texts = [shown, *(f"{name}: {_plain(value)}" for name, value in event.detail.items())]
        for text in texts:
            strips += [line(width, inks.base, (f" {part}", PLAIN)) for part in wrap(clean(text), width - 2)]
        return strips


class EventsScreen(MainScreen):
    """What happened, and by whom."""

    CRUMB = "events"
    AUTO_FOCUS = "#events"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("events.filter", "list.first", "list.last", "help", "back")
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        key("events.filter", "slash", "find", "Filter", "Filter by a regex")
    ]

    def body(self) -> Iterator[Widget]:
        """The list, and the text of the selected event."""
        yield EventList(id="events")
        yield EventText(id="event-text")

    def on_mount(self) -> None:
        """The header shows the filter."""
        header, listed = self.query_one(Header), self.listed
        header.note = lambda: f"/{listed.filter.told}" if listed.filter.text else ""

    @property
    def listed(self) -> EventList:
        """The list of events."""
        return self.query_one(EventList)

    def targets(self) -> list[str]:
        """The task of the selected event."""
        event = self.listed.event
        return [event.task] if event and event.task else []

    def update(self, change: Change) -> None:
        """The picture has changed."""
        if change.events or change.order:
            self.listed.update()

    def on_listing_moved(self, _message: Listing.Moved) -> None:
        """Another event is selected."""
        self.query_one(EventText).show(self.listed.event)

    async def action_find(self) -> None:
        """Show only what matches."""
        hint, before = "regular expression on task, kind and text", self.listed.filter.text
        await self.ask(
            Question("/", hint, self._filter, self._filter, lambda: self._filter(before), value=before)
        )

    def action_back(self) -> None:
        """Esc: all events again, else back."""
        if self.listed.filter.text:
            self._filter("")
        else:
            super().action_back()

    def _filter(self, text: str) -> None:
        self.listed.set_filter(text)
        self.query_one(Header).redraw()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
