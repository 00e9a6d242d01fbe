"""A list with a cursor that stays on its item.

The cursor is the item's key, not a row number: when rows are sorted anew, filtered or removed, it stays with its
item, at the same height of the window if possible. The item under the cursor is always in view.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from paneview.tui.keys.bindings import key
from paneview.tui.text import wrap
from paneview.tui.widgets.canvas import Canvas, line

CURSOR = "▌"


def marks_told(marked: Collection[str], shown: Sequence[str]) -> str:
    """How many items are marked and, if a filter hides some of them, how many; empty for none."""
    hidden = len(marked) - sum(key in marked for key in shown)
    return f"{len(marked)} marked{f', {hidden} hidden' if hidden else ''}" if marked else ""


class Listing(Canvas, can_focus=True):
    """Rows by key, one line each, with an optional heading. Subclasses give `row` and may give `heading`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("list.next", "j,down", "move(1)", "Next"),
        key("list.previous", "k,up", "move(-1)", "Previous"),
        key("list.first", "g,home", "edge(-1)", "First"),
        key("list.last", "G,end", "edge(1)", "Last"),
        key("list.page_down", "pagedown", "page(1)", "Page down"),
        key("list.page_up", "pageup", "page(-1)", "Page up"),
    ]

    class Moved(Message):
        """The cursor is on another item."""

        def __init__(self, listing: Listing, key: str | None) -> None:
            super().__init__()
            self.listing = listing
            self.key = key

        @property
        def control(self) -> Listing:
            """The list (Textual looks here for ``@on`` selectors)."""
            return self.listing

    class Chosen(Moved):
        """Enter, or a click on the item that the cursor is on."""

    def __init__(self, *, id: str | None = None, empty: Callable[[], str] = lambda: "") -> None:  # noqa: A002
        super().__init__(id=id)
        self.keys: list[str] = []
        self.in_view: list[str] = []
        self.cursor: str | None = None
        self._left: str | None = None
        self._empty = empty
        self._top = 0
        self._index: dict[str, int] = {}

    def row(self, key: str, width: int, style: Style) -> Strip:
        """The line of one item; ``style`` is its background (the selection's, if it is selected)."""
        raise NotImplementedError

    def heading(self, width: int) -> Strip | None:
        """The line above the rows; None if there is none."""
        return None

    def heading_clicked(self, x: int) -> None:
        """The heading was clicked in this column of cells."""

    def set_keys(self, keys: Sequence[str], *, cursor: str | None = None) -> None:
        """Show these items in this order; the cursor stays on its item or, if that is gone, at its row."""
        before = self._index.get(self.cursor or "", 0)
        height_in_window = before - self._top
        self.keys = list(keys)
        self._index = {key: at for at, key in enumerate(self.keys)}
        wanted = cursor if cursor in self._index else (self.cursor or self._left)
        if not self.keys:
            self._left = wanted  # to return to when there are items again
        if wanted not in self._index:
            wanted = self.keys[min(before, len(self.keys) - 1)] if self.keys else None
        # A window at the very top stays there: what becomes urgent is put above the cursor, and must be seen.
        if wanted is not None and self._top > 0:
            self._top = self._index[wanted] - height_in_window
        self._put_cursor(wanted)

    def select(self, key: str) -> None:
        """Put the cursor on an item."""
        if key in self._index:
            self._put_cursor(key)

    def paint(self, width: int, height: int) -> list[Strip]:
        """The heading and the rows in view."""
        inks = self.inks
        heading = self.heading(width)
        rows = height - (heading is not None)
        self._follow_cursor(rows)
        strips = [] if heading is None else [heading]
        if not self.keys:
            words = wrap(self._empty(), max(10, width - 4))
            return [*strips, *[line(width, inks.base, (f"  {text}", inks.dim)) for text in words]]
        selected = inks.base + (inks.select if self.has_focus else inks.select_blur)
        self.in_view = self.keys[self._top : self._top + rows]
        return [
            *strips,
            *[self.row(key, width, selected if key == self.cursor else inks.base) for key in self.in_view],
        ]

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        if self.keys:
            at = self._index.get(self.cursor or "", 0) + by
            self._put_cursor(self.keys[max(0, min(at, len(self.keys) - 1))])

    def action_page(self, direction: int) -> None:
        """Move the cursor by a window."""
        self.action_move(direction * max(1, self.size.height - 2))

    def action_edge(self, direction: int) -> None:
        """Move the cursor to the first or last item."""
        self.action_move(direction * len(self.keys))

    def on_click(self, event: events.Click) -> None:
        """A click selects; a click on the selected item chooses it."""
        offset = event.y - (self.heading(self.size.width) is not None)
        at = self._top + offset
        if offset < 0:
            self.heading_clicked(event.x)
        if offset < 0 or at >= len(self.keys):
            return
        key = self.keys[at]
        if key == self.cursor:
            self.post_message(self.Chosen(self, key))
        self._put_cursor(key)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor, since the item under it must be in view."""
        event.stop()
        self.action_move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The other way."""
        event.stop()
        self.action_move(-1)

    def _put_cursor(self, key: str | None) -> None:
        moved, self.cursor = key != self.cursor, key
        self.redraw()
        if moved:
            self.post_message(self.Moved(self, key))

    def _follow_cursor(self, rows: int) -> None:
        at = self._index.get(self.cursor or "", 0)
        self._top = max(at - rows + 1, min(self._top, at))
        self._top = max(0, min(self._top, len(self.keys) - rows))
