"""Reading a log: searching, filtering, selecting and copying, with keys or the mouse, on top of the window."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from paneview.tui.keys.bindings import key
from paneview.tui.logs import viewport
from paneview.tui.logs.find import Finder, Query
from paneview.tui.logs.state import LogState
from paneview.tui.logs.viewport import Pos
from paneview.tui.logs.window import LogWindow

WHEEL = 3  # rows per notch


class LogView(LogWindow):
    """The log of one task."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("log.search", "slash", "screen.search_log", "Search", "Search all stored lines"),
        key("log.older", "n", "match('back')", "Older", "Next match, older"),
        key("log.newer", "N", "match('forward')", "Newer", "Next match, newer"),
        key("log.select", "v", "select", "Select", "Select lines: v, move, y"),
        key("log.copy", "y", "copy", "Copy", "Copy selection or window"),
        key("log.save", "S", "save", "Save", "Save to a file"),
    ]

    class Copy(Message):
        """Copy (or save) these lines; the screen handles it."""

        def __init__(self, state: LogState, first: int, last: int, *, save: bool = False) -> None:
            super().__init__()
            self.state = state
            self.numbers = state.source.between(first, last)
            self.save = save

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._dragging = ""
        self._pressed: int | None = None

    # Searching and filtering

    def search(self, text: str, *, start: int | None = None) -> None:
        """Search back from the end of the window (or ``start``); an empty text ends it. Raises ValueError."""
        state = self.state
        if state is None:
            return
        query = Query.parse(text) if text else None
        if state.search is not None:
            state.search.cancel()
        state.search = None
        if query is not None:
            state.search = Finder(state.feed, query, self._found)
            state.search.begin(self.last_number if start is None else start, partial(self._reveal_in, state))
        self.sync()

    def filter(self, text: str) -> None:
        """Show only the lines that match; all again for an empty text. Raises ValueError."""
        state = self.state
        if state is None:
            return
        query = Query.parse(text) if text else None
        if state.filter is not None:
            state.filter.cancel()
        state.filter = None
        if query is not None:
            state.filter = Finder(state.feed, query, self._found)
            state.filter.collect()
            state.follow = True
        self.sync()

    async def action_match(self, direction: str) -> None:
        """To the next match (``back``: an older one). Without a search, the key does the screen's own action."""
        state = self.state
        if state is None or state.search is None:
            await self.screen.run_action("asking")
            return
        at = state.search.at
        here = self.last_number if at is None else at + (-1 if direction == "back" else 1)
        state.search.step(direction, max(0, here), partial(self._reveal_in, state))

    # Copying

    def action_select(self) -> None:
        """Start a selection at the match, else at the last line in view; end it if there is one."""
        state = self.state
        if state is None or not self._numbers:
            return
        if state.anchor is not None:
            state.anchor = None
        else:
            found = state.search.at if state.search else None
            state.anchor = state.caret = found if found in self._numbers else self.last_number
            state.pause()
        self.redraw()

    def action_copy(self) -> None:
        """Copy the selection, else the lines in view."""
        state = self.state
        if state is None or not self._numbers:
            return
        first, last = state.selection() or (self._numbers[0], self._numbers[-1])
        self.post_message(self.Copy(state, first, last))
        state.anchor = None
        self.redraw()

    def action_save(self) -> None:
        """Write the selection, else the whole log, to a file."""
        if self.state is not None:
            first, last = self.state.selection() or (self.state.source.first, self.state.source.last)
            self.post_message(self.Copy(self.state, first, last, save=True))
            self.state.anchor = None
            self.redraw()

    def leave(self) -> bool:
        """Esc: end the selection, else the search, else the filter; False when there was nothing to leave."""
        state = self.state
        if state is None:
            return False
        if state.anchor is not None:
            state.anchor = None
            self.redraw()
        elif state.search is not None:
            self.search("")
        elif state.filter is not None:
            self.filter("")
        else:
            return False
        return True

    def action_scroll_rows(self, by: int) -> None:
        """Scroll; while selecting, move the selection's end by lines."""
        state = self.state
        if state is None or state.anchor is None:
            super().action_scroll_rows(by)
            return
        source = state.source
        for _ in range(abs(by)):
            following = source.after(state.caret) if by > 0 else source.before(state.caret)
            state.caret = state.caret if following is None else following
        if state.caret not in self._numbers:
            page = self._current_page(state, self.size.width)
            rows = 0 if by < 0 else self._rows - 1
            state.top = viewport.up(Pos(state.caret), rows, source, page.height)
        self.sync()

    # The mouse

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel scrolls."""
        event.stop()
        super().action_scroll_rows(WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel scrolls."""
        event.stop()
        super().action_scroll_rows(-WHEEL)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A press on the rule follows or pauses, on the bar it scrolls, on a line it may start a selection."""
        if self.state is None:
            return
        if event.y < 1:  # the rule shows whether it follows
            self.action_toggle_follow()
            return
        self.capture_mouse()
        if event.x >= self.size.width - 1:
            self._dragging = "bar"
            self._drag_bar(event.y)
        else:
            self._dragging = "press"
            self._pressed = self._number_at(event.y)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Dragging moves the bar, or selects lines."""
        state = self.state
        if state is None or not self._dragging:
            return
        if self._dragging == "bar":
            self._drag_bar(event.y)
            return
        number = self._number_at(event.y)
        if number is None:
            return
        if self._dragging == "press":
            state.anchor = number if self._pressed is None else self._pressed
            state.pause()
        state.caret = number
        self._dragging = "lines"
        self.redraw()

    def on_mouse_up(self, _event: events.MouseUp) -> None:
        """The end of a drag over lines copies them."""
        self.release_mouse()
        dragged, self._dragging = self._dragging, ""
        if dragged == "lines":
            self.action_copy()

    def _drag_bar(self, y: int) -> None:
        if self.state is not None:
            part = max(0.0, min(1.0, (y - 1) / max(1, self._rows - 1)))
            if part >= 1:
                self.action_newest()
            else:
                self.go_to(Pos(self.state.source.at(part)))

    def _number_at(self, y: int) -> int | None:
        return self._numbers[y - 1] if 0 < y <= len(self._numbers) else None

    def _reveal_in(self, state: LogState, number: int) -> None:
        """Bring the hit into view; if another log is shown by now, it is shown when that one comes back."""
        if state is self.state:
            self.reveal(number)
        else:
            state.pause()
            state.top = Pos(number)

    def _found(self) -> None:
        """The search or the filter has found more."""
        self.sync()
