"""Typing into a task's pane: the screen shows the pane, and every key but one goes to it.

The pane is shown as tmux has it, so prompts, menus and full-screen programs look as they are. It is fetched after
each key and whenever the task writes, at most twenty times a second, and never while nothing happens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from paneview.control.errors import ControlError
from paneview.tui import words
from paneview.tui.keys.bindings import key
from paneview.tui.keys.tmuxnames import LEAVES, Stroke, requests, stroke
from paneview.tui.logs import sgr
from paneview.tui.picture import Change
from paneview.tui.screens.base import MainScreen
from paneview.tui.text import cells, clean
from paneview.tui.widgets.canvas import Canvas, Piece, line, spread

PACE = 0.05  # s between two fetches of the pane
ECHO = 0.03  # s after a key until the program has usually echoed it


class PaneView(Canvas, can_focus=True):
    """The rows of a pane, and its cursor."""

    def __init__(self, task: str) -> None:
        super().__init__(id="pane")
        self.task_name = task
        self.error = ""  # why the pane cannot be shown
        self._refused = ""  # why the last keys typed did not reach it
        self._rows: list[str] = []
        self._cursor = (0, 0)
        self._keys: deque[Stroke | str] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._due: Timer | None = None

    def on_mount(self) -> None:
        """Fetch the pane for the first time."""
        self.look()

    def on_unmount(self) -> None:
        """Stop fetching."""
        if self._looking is not None:
            self._looking.cancel()

    def on_key(self, event: events.Key) -> None:
        """Every key goes to the task, except the one that leaves."""
        event.stop()
        event.prevent_default()
        if event.key == LEAVES:
            self.screen.dismiss()
            return
        typed = stroke(event.key, event.character)
        if typed is not None:
            self._send(typed)

    def on_paste(self, event: events.Paste) -> None:
        """A paste goes to the task as well."""
        event.stop()
        self._send(event.text)

    def look(self, after: float = PACE) -> None:
        """Fetch the pane in ``after`` seconds, unless a fetch is due already."""
        if self._due is None:
            self._due = self.set_timer(after, self._look)

    def paint(self, width: int, height: int) -> list[Strip]:
        """A rule, which says if columns are cut, and as many rows of the pane as fit, the cursor's included."""
        inks, task = self.inks, self.pv.picture.tasks.get(self.task_name)
        left: list[Piece] = [("── ", inks.rule), (f"typing into {clean(self.task_name)} ", inks.accent)]
        if task is not None:
            shape = words.look(task)
            left.append((f"{shape.glyph} {shape.word} ", inks.role(shape.role)))
        right = [(" ctrl+] ends ", inks.attention), ("──", inks.rule)]
        error = self._refused or self.error
        rows = height - 1 - bool(error)
        first = max(0, min(len(self._rows) - rows, self._cursor[1] - rows + 1))
        shown = [self._row(at) for at in range(first, min(first + rows, len(self._rows)))]
        start = max(0, self._cursor[0] - width + 1)  # a pane may be wider; the cursor is always in view
        end = start + width
        if start or any(row.cell_length > end for row in shown):
            cut = (f" columns {start + 1}-{end} ", inks.dim)
            if sum(cells(text) for text, _ in [*left, cut]) >= width:
                left = left[:2]
            right = [cut, *right]
        strips = [spread(width, inks.base, left, right, ("─", inks.rule))]
        strips += [row.crop(start, end).adjust_cell_length(width, inks.base) for row in shown]
        if error:  # what was last seen stays above it
            strips.append(line(width, inks.base, (f" {clean(error)}; ctrl+] goes back", inks.failed)))
        return strips

    def _row(self, at: int) -> Strip:
        """A row of the pane as it is, in its own width, with the cursor."""
        base = self.inks.base
        plain, marks = sgr.parse(self._rows[at])
        segments = [Segment(plain[low:high], style) for low, high, style in sgr.spans(plain, marks, base)]
        strip = Strip(segments)
        if at != self._cursor[1]:
            return strip
        column = self._cursor[0]
        strip = strip.extend_cell_length(column + 1, base)
        before, under, after = strip.crop(0, column), strip.crop(column, column + 1), strip.crop(column + 1)
        shown = [Segment(text, (style or base) + Style(reverse=True, bold=True)) for text, style, _ in under]
        return Strip.join([before, Strip(shown, under.cell_length), after])

    def _send(self, what: Stroke | str) -> None:
        self._keys.append(what)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all(), name=f"typing into {self.task_name}")

    async def _send_all(self) -> None:
        """Send the keys in the order typed, those that are waiting together."""
        while self._keys:
            self._refused = ""
            try:
                if isinstance(self._keys[0], Stroke):
                    for args in requests(self._strokes()):
                        await self.pv.link.call("send_keys", task=self.task_name, **args)
                else:
                    await self.pv.link.call("paste", task=self.task_name, text=self._keys.popleft())
            except ControlError as error:
                self._keys.clear()
                self._refused = error.message
                self.redraw()
        self.look(ECHO)

    def _strokes(self) -> list[Stroke]:
        """Take the keys up to the next paste."""
        taken: list[Stroke] = []
        while self._keys and isinstance(self._keys[0], Stroke):
            taken.append(self._keys.popleft())  # type: ignore[arg-type]
        return taken

    def _look(self) -> None:
        self._due = None
        if self._looking is not None and not self._looking.done():
            self.look()
            return
        self._looking = asyncio.create_task(self._fetch(), name=f"pane of {self.task_name}")

    async def _fetch(self) -> None:
        try:
            reply = await self.pv.link.call("screen", task=self.task_name)
        except ControlError as error:
            self.error = error.message
            self.redraw()
            return
        self.error, self._rows = "", reply["lines"]
        self._cursor = (reply["column"], reply["row"])
        self.redraw()


class TypingScreen(MainScreen):
    """One task's pane, typed into."""

    CRUMB = "typing"
    AUTO_FOCUS = "#pane"
    WAY_OUT = "ctrl+] ends typing"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {"": ("typing.end",)}
    BINDINGS: ClassVar[list[BindingType]] = [
        key("typing.end", LEAVES, "app.pop_screen", "Ends typing", "Stop typing into the task")
    ]

    def __init__(self, task: str) -> None:
        super().__init__()
        self._task_name = task

    def body(self) -> Iterator[Widget]:
        """Only the pane."""
        yield PaneView(self._task_name)

    def on_key(self, event: events.Key) -> None:
        """The pane lacks the focus while the terminal is too small to show it: keys are the task's nevertheless."""
        self.query_one(PaneView).on_key(event)

    def on_paste(self, event: events.Paste) -> None:
        """A paste as well."""
        self.query_one(PaneView).on_paste(event)

    def targets(self) -> list[str]:
        """The task that is typed into."""
        return [self._task_name]

    def update(self, change: Change) -> None:
        """The task has written, or changed."""
        if self._task_name in change.heads or self._task_name in change.tasks or change.link:
            self.query_one(PaneView).look()
