"""Scrolling by rows: the keys, the wheel, and the position, which stays within the rows there are."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType

from paneview.tui.keys.bindings import key
from paneview.tui.widgets.canvas import Canvas
from paneview.tui.words import plural

WHEEL = 3  # rows


class Scrolling(Canvas, can_focus=True):
    """Rows below ``AROUND`` fixed lines. Subclasses call `place` when they paint, and show the rows that it returns."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("list.next", "j,down", "scroll_by(1)", "Next"),
        key("list.previous", "k,up", "scroll_by(-1)", "Previous"),
        key("list.first", "g,home", "edge(-1)", "First"),
        key("list.last", "G,end", "edge(1)", "Last"),
        key("list.page_down", "pagedown,space", "page(1)", "Page down"),
        key("list.page_up", "pageup", "page(-1)", "Page up"),
    ]
    AROUND: ClassVar[int] = 1
    GROWS: ClassVar[bool] = False
    """Whether more rows may come: then a window at the end stays at the end."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.follow = False
        self.top = 0
        """The first row in view."""
        self._count = 0

    def place(self, count: int, height: int) -> range:
        """The rows in view, out of ``count``, in a widget of this height."""
        self._count = count
        room = max(0, height - self.AROUND)
        hidden = max(0, count - room)
        self.top = hidden if self.follow else max(0, min(self.top, hidden))
        return range(self.top, min(self.top + room, count))

    def where(self, shown: range) -> str:
        """Which rows are in view; empty if all are."""
        return f" {shown.stop:,} of {plural(self._count, 'line')}" if len(shown) < self._count else ""

    def action_scroll_by(self, by: int) -> None:
        """Scroll; reaching the end follows again, if more rows may come."""
        end = max(0, self._count - max(0, self.size.height - self.AROUND))
        at = max(0, min(self.top + by, end))
        self.follow = self.GROWS and at == end and (by > 0 or (self.follow and end == 0))
        self.top = at
        self.redraw()

    def action_page(self, direction: int) -> None:
        """Scroll by a window less one row, so that the eye keeps its place."""
        self.action_scroll_by(direction * max(1, self.size.height - self.AROUND - 1))

    def action_edge(self, direction: int) -> None:
        """To the first or last row."""
        self.action_scroll_by(direction * max(1, self._count))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll by the wheel."""
        event.stop()
        self.action_scroll_by(WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The other way."""
        event.stop()
        self.action_scroll_by(-WHEEL)
