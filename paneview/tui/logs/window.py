"""The window on a task's log.

It addresses lines by their absolute number and draws only the rows in view; lines come over the control socket.
While they are under way the old rows stay on the screen for a moment instead of blinking. A log that grows is drawn at
most 30 times a second, 15 when it floods, and not at all while the window is hidden. Scrolling up pauses; reaching the
end follows again.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import ClassVar

from textual.binding import BindingType
from textual.strip import Strip
from textual.timer import Timer

from paneview.tui.keys.bindings import key
from paneview.tui.logs import viewport
from paneview.tui.logs.feed import SETTLES
from paneview.tui.logs.page import LogPage
from paneview.tui.logs.rows import STAMPS, Shape
from paneview.tui.logs.rule import no_task, rule, why_empty
from paneview.tui.logs.state import LogState
from paneview.tui.logs.viewport import Hits, Pos
from paneview.tui.picture import Change
from paneview.tui.widgets.canvas import Canvas, line

FLOOD_LINES = 1500  # in one frame: then half the frames are enough
FLOOD_FRAME = 1 / 15
HOLD = 0.15  # s that old rows stay while new ones are fetched
SIDEWAYS = 8


class LogWindow(Canvas, can_focus=True):
    """A rule that says what is shown, and the rows of one task's log."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("log.down", "j,down", "scroll_rows(1)", "Down"),
        key("log.up", "k,up", "scroll_rows(-1)", "Up"),
        key("log.page_down", "pagedown", "page(1)", "Page down"),
        key("log.page_up", "pageup", "page(-1)", "Page up"),
        key("log.first", "g,home", "oldest", "Oldest", "First stored line"),
        key("log.last", "G,end", "newest", "Newest", "Newest line, and follow"),
        key("log.left", "h,left", "sideways(-1)", "Left"),
        key("log.right", "l,right", "sideways(1)", "Right"),
        key("log.follow", "f", "toggle_follow", "Follow", "Follow the end, or pause"),
        key("log.wrap", "w", "toggle_wrap", "Wrap", "Wrap long lines"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.state: LogState | None = None
        self.wrap = False
        self.stamps = STAMPS[0]
        self._page: LogPage | None = None
        self._numbers: list[int] = []
        self._drawn_at = 0.0
        self._seen_head = 0
        self._later: Timer | None = None
        self._held: Timer | None = None
        self._settling: Timer | None = None

    # What is shown

    def show(self, task: str | None) -> None:
        """Show this task's log, where it was left."""
        state = None if task is None else self.pv.logs.of(task)
        if state is not self.state:
            if self.state is not None:
                self.state.feed.shrink(self.state.top.line)
            self.state = state
            self._page = None
            self._numbers = []
        if state is not None:
            state.feed.on_change = self._arrived
            self._settle_later(state)
            self.sync()
        else:
            self.redraw()

    def update(self, change: Change) -> None:
        """The picture has changed."""
        state = self.state
        if state is None:
            return
        if not change.heads.isdisjoint(state.tasks):
            state.extend()
            self._settle_later(state)
            self._grown(state)
        elif change.link or not change.tasks.isdisjoint(state.tasks):
            self.sync()

    def sync(self) -> None:
        """Draw what there is, or ask for it and draw when it comes."""
        state = self.state
        if state is None or not self.size.height:
            return
        self._drawn_at = time.monotonic()
        self._seen_head = state.feed.head
        if self._ask(state) or not self._numbers:
            self._show_now()
        elif self._held is None:
            self._held = self.set_timer(HOLD, self._show_now)

    def on_resize(self) -> None:
        """More rows may be needed."""
        self.sync()

    def paint(self, width: int, height: int) -> list[Strip]:
        """The rule, and the rows of the log."""
        state, inks = self.state, self.inks
        if state is None:
            nothing = line(width, inks.base, (no_task(len(self.app.screen_stack) > 1), inks.dim))
            return [rule(None, None, width, inks, focused=self.has_focus), nothing]
        task = self.pv.picture.tasks.get(state.feed.task)
        page, rows = self._current_page(state, width), height - 1
        epilogue = page.epilogue() if state.follow else None
        self._place(state, page, rows - (epilogue is not None))
        strips, self._numbers = page.rows(state.top, rows)
        if epilogue is not None and len(strips) < rows:
            strips.append(epilogue)
        if not strips:
            strips = [line(width - 1, inks.base, (f" {why_empty(state, task)}", inks.dim))]
        return [
            rule(state, task, width, inks, focused=self.has_focus),
            *self._with_bar(state, strips, rows),
        ]

    # Moving

    def action_scroll_rows(self, by: int) -> None:
        """Scroll by so many rows; scrolling up pauses, reaching the end follows."""
        state = self.state
        if state is None:
            return
        page = self._current_page(state, self.size.width)
        if by < 0:
            state.pause()
            state.top = viewport.up(state.top, -by, state.source, page.height)
        elif not state.follow:
            state.top = viewport.down(state.top, by, state.source, page.height)
            state.follow = state.top >= viewport.last_page(self._rows, state.source, page.height)
        self.sync()

    def action_page(self, direction: int) -> None:
        """Scroll by a window less one row, so that the eye keeps its place."""
        self.action_scroll_rows(direction * max(1, self._rows - 1))

    def action_oldest(self) -> None:
        """To the first line that is stored."""
        if self.state is not None:
            self.go_to(Pos(self.state.source.first))

    def action_newest(self) -> None:
        """To the end, and follow."""
        if self.state is not None:
            self.state.follow = True
            self.sync()

    def action_sideways(self, direction: int) -> None:
        """Scroll lines that are longer than the window."""
        if self.state is not None and not self.wrap:
            self.state.column = max(0, self.state.column + direction * SIDEWAYS)
            self.redraw()

    def action_toggle_follow(self) -> None:
        """Follow the end, or stay here."""
        if self.state is None:
            return
        if self.state.follow:
            self.state.pause()
            self.redraw()
        else:
            self.action_newest()

    def action_toggle_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self.wrap = not self.wrap
        if self.state is not None:
            self.state.column = 0
        self.sync()

    def action_next_stamp(self) -> None:
        """Times: off, since the run's start, time of day."""
        self.stamps = STAMPS[(STAMPS.index(_stamps(self.state, self.stamps)) + 1) % len(STAMPS)]
        self.stamps = _stamps(self.state, self.stamps)
        self.redraw()

    def action_run(self, direction: int) -> None:
        """To the beginning of the next or previous run."""
        state = self.state
        if state is None:
            return
        firsts = sorted({mark.first for mark in state.feed.runs})
        here = state.top.line
        beyond = [first for first in firsts if (first > here if direction > 0 else first < here)]
        if beyond:
            self.go_to(Pos(beyond[0] if direction > 0 else beyond[-1]))
        elif direction > 0:
            self.action_newest()

    def go_to(self, pos: Pos) -> None:
        """Put this row at the top of the window."""
        if self.state is not None:
            self.state.pause()
            self.state.top = pos
            self.sync()

    def reveal(self, number: int) -> None:
        """Bring this line into view, in the middle unless it is visible already."""
        state = self.state
        if state is None:
            return
        state.pause()
        if number not in self._numbers:
            page = self._current_page(state, self.size.width)
            state.top = viewport.up(Pos(number), self._rows // 2, state.source, page.height)
        self.sync()

    @property
    def last_number(self) -> int:
        """The last line in the window."""
        return self._numbers[-1] if self._numbers else 0

    # Drawing

    @property
    def _rows(self) -> int:
        return max(1, self.size.height - 1)

    def _arrived(self) -> None:
        """Requested lines have come, or could not be fetched."""
        self._show_now()
        state = self.state
        # Another window on this log may have asked for other lines instead.
        if state and not (state.follow and (state.filter or state.feed.has_end(self._rows))):
            self._ask(state)

    def _show_now(self) -> None:
        if self._held is not None:
            self._held.stop()
            self._held = None
        self.redraw()

    def _grown(self, state: LogState) -> None:
        """The log has grown: draw it, less often when it floods."""
        if not state.follow:
            self._ask_for_view(state)  # a line in it may have grown
            self.redraw()  # the rule shows how much is new
            return
        wait = 0.0
        if state.feed.head - self._seen_head > FLOOD_LINES:
            wait = self._drawn_at + FLOOD_FRAME - time.monotonic()
        if wait <= 0:
            self.sync()
        elif self._later is None:
            self._later = self.set_timer(wait, self._sync_later)

    def _settle_later(self, state: LogState) -> None:
        """No push says when the order of a merged log's newest lines has become final: look once more later."""
        if state.feed.merged:
            if self._settling is not None:
                self._settling.reset()
            else:
                self._settling = self.set_timer(SETTLES, self._settled)

    def _settled(self) -> None:
        self._settling = None
        if (state := self.state) is not None and state.feed.merged and self.screen.is_current:
            state.feed.moved(state.feed.head)
            state.extend()
            self.sync()

    def _sync_later(self) -> None:
        self._later = None
        self.sync()

    def _ask(self, state: LogState) -> bool:
        """Request what the window lacks; return whether all that it shows is here."""
        feed, rows = state.feed, self._rows
        if state.filter is not None:
            feed.ensure_end(1)
            return self._ask_for_view(state)
        if state.follow:
            return feed.ensure_end(rows)
        ready = self._ask_for_view(state)
        if ready and not feed.has(state.top.line - rows, 3 * rows):
            feed.ensure(state.top.line - 3 * rows, 7 * rows)  # before it is scrolled to
        return ready

    def _ask_for_view(self, state: LogState) -> bool:
        """`_ask` for a window that is filtered, or away from the log's end."""
        if state.filter is not None:
            return state.feed.ensure_each(_hits_in_window(state, self._rows))
        return state.feed.ensure(state.top.line, self._rows)

    def _current_page(self, state: LogState, width: int) -> LogPage:
        pattern = state.search or state.filter
        shape = Shape(
            max(1, width - 1),
            self.wrap,
            _stamps(state, self.stamps),
            pattern.query.pattern if pattern else None,
            self.inks,
            tuple(state.tasks) if len(state.tasks) > 1 else (),
        )
        if self._page is None or self._page.shape != shape or self._page.state is not state:
            self._page = LogPage(state, shape)
        return self._page

    def _place(self, state: LogState, page: LogPage, rows: int) -> None:
        """Keep the window within the lines there are."""
        source = state.source
        if state.follow:
            state.top = viewport.last_page(rows, source, page.height)
        elif state.top.line < source.first:
            state.top = Pos(source.first)
        else:
            state.top = min(state.top, viewport.last_page(rows, source, page.height))

    def _with_bar(self, state: LogState, strips: list[Strip], rows: int) -> list[Strip]:
        """The rows with a scroll bar in the last column."""
        base, inks = self.inks.base, self.inks
        count = state.source.size()
        if not self._numbers or (count <= rows and self._numbers[0] <= state.source.first):
            return [strip.extend_cell_length(strip.cell_length + 1, base) for strip in strips]
        tall = max(1, min(rows, rows * rows // max(1, count)))
        at = rows - tall if state.follow else round(state.source.part(state.top.line) * (rows - tall))
        empty, thumb = line(1, base, (" ", base)), line(1, base, ("▐", inks.dim))
        return [
            Strip.join([strip, thumb if at <= y < at + tall else empty]) for y, strip in enumerate(strips)
        ]


def _hits_in_window(state: LogState, rows: int) -> list[int]:
    """The lines that the filter would show in a window of so many rows."""
    source = state.source
    if not isinstance(source, Hits):
        return []
    if state.follow:
        return source.numbers[-rows:]
    at = bisect_left(source.numbers, state.top.line)
    return source.numbers[at : at + rows]


def _stamps(state: LogState | None, wanted: str) -> str:
    """The times shown: those of a merged log are by the clock, since its tasks did not start together."""
    return "clock" if wanted == "since start" and state is not None and len(state.tasks) > 1 else wanted
