"""The first screen: all tasks, the log of the selected one, and the latest events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.containers import Container
from textual.widget import Widget

from paneview.control.errors import ControlError
from paneview.tui import words
from paneview.tui.background import in_background
from paneview.tui.keys.bindings import key
from paneview.tui.logs.view import LogView
from paneview.tui.picture import Change
from paneview.tui.question import Question
from paneview.tui.queue.strip import QueueStrip
from paneview.tui.screens.reading import ReadingScreen
from paneview.tui.tasks.detail import Detail
from paneview.tui.tasks.table import TaskTable
from paneview.tui.widgets.divider import Divider
from paneview.tui.widgets.header import Header
from paneview.tui.widgets.hints import Hints
from paneview.tui.widgets.listing import Listing
from paneview.tui.widgets.news import EventStrip

LEAST_ROWS = 8  # of the table in a small terminal, its heading included


class FleetScreen(ReadingScreen):
    """Tasks, log, events."""

    CRUMB = "fleet"
    AUTO_FOCUS = "#tasks"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("task.start", "task.stop", "task.restart", "table.filter", "help", "leave"),
        "asking": ("task.asking", "task.type", "task.stop", "table.filter", "help", "leave"),
        "failed": ("task.why", "task.start", "task.restart", "table.filter", "help", "leave"),
        "log": ("log.search", "log.wrap", "log.filter", "log.follow", "help", "leave"),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("table.filter", "slash", "find", "Filter", "Filter: regex, ! inverts"),
        key("table.merge", "equals_sign", "merge", "Merge", "Merge marked tasks' logs"),
        key("table.drill", "enter", "app.go('logs')", "Full log", "Log in the whole screen"),
    ]

    def body(self) -> Iterator[Widget]:
        """Left: table and facts; right: log and events. In a narrow terminal they are stacked."""
        with Container(id="body"):
            with Container(id="left"):
                yield TaskTable(id="tasks")
                yield QueueStrip(id="queue-strip")
                yield Detail(id="detail")
            yield Divider(id="divider")
            with Container(id="right"):
                yield LogView(id="log")
                yield EventStrip(id="news")
        yield EventStrip(id="newest")

    def __init__(self) -> None:
        super().__init__()
        self._hears_queue = False
        self._table_height: int | str | None = None

    def on_mount(self) -> None:
        """The header says how the table is filtered and sorted, and how many tasks are marked."""
        header = self.query_one(Header)
        header.note, self.table.noted = self.table.note, header.redraw

    @property
    def table(self) -> TaskTable:
        """The table of tasks."""
        return self.query_one(TaskTable)

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Back from another screen: select the task that was selected there, unless the filter hides it."""
        if self.pv.selected is not None:
            self.table.select(self.pv.selected)
            # The log shown, and what keys act on, are always of one task.
            self.pv.selected = self.table.cursor
            self.log_view.show(self.pv.selected)

    def go_to(self, name: str) -> None:
        """Select this task, whatever the filter says."""
        if name not in self.table.keys:
            self.table.only_failing = False
            self.table.set_filter("")
        self.table.select(name)

    def action_merge(self) -> None:
        """The logs of the marked tasks as one, by time."""
        names = self.pv.marked_tasks()
        if len(names) < 2:
            self.pv.tell("Mark two tasks or more (space), then = merges their logs")
        else:
            self.pv.merge(names)

    def targets(self) -> list[str]:
        """The marked tasks, else the selected one."""
        return self.table.targets()

    def target(self) -> str:
        """The selected task."""
        return self.table.cursor or ""

    def situation(self) -> str:
        """A task waits for an answer, the selected task is in trouble, or all is well."""
        tasks, selected = self.pv.picture.tasks, self.table.selected
        if any(task.needs_input for task in tasks.values()):
            return "asking"
        return "failed" if selected is not None and words.look(selected).role == "failed" else ""

    def update(self, change: Change) -> None:
        """The picture has changed."""
        if change.tasks or change.order or change.link:
            self.table.update(change)
            self.query_one(Hints).check()
            self._fit_table()
            self.query_one(Detail).redraw()
        if change.events:
            for strip in self.query(EventStrip):
                strip.redraw()
            self.query_one(Detail).redraw()
        if change.queue:
            self._fit_queue()
        super().update(change)

    def tick(self) -> None:
        """Show the time that has passed."""
        self.table.tick()
        if self.has_class("wide"):
            self.query_one(Detail).tick()
            self.query_one(QueueStrip).redraw()

    def laid_out(self) -> None:
        """The table may have as many rows as this size allows."""
        self._fit_table()
        if self.has_class("wide") and not self._hears_queue:
            self._hears_queue = True
            in_background(self, self._hear_queue)
        if self.focused is None and not self.has_class("tiny") and not self.query("#prompt"):
            self.call_after_refresh(
                self.set_focus, self.log_view if self.has_class("reading") else self.table
            )

    @on(Listing.Moved)
    def show_task(self, message: Listing.Moved) -> None:
        """Another task is selected: its log and its facts."""
        if message.listing is self.table:
            self.pv.selected = message.key
            self.log_view.show(message.key)
            self.query_one(Detail).show(message.key)
            self.query_one(Hints).check()

    @on(Listing.Chosen)
    def drill_down(self) -> None:
        """Enter, or a click on the selected task."""
        self.pv.action_go("logs")

    def acted(self, names: list[str]) -> None:
        """Drop the marks of these tasks, but not of those that the filter hides."""
        self.table.marked.difference_update(names)
        self.table.redraw()

    async def action_find(self) -> None:
        """Filter the tasks."""
        table, before = self.table, self.table.filter.text

        def restore() -> None:
            table.set_filter(before)

        hint = "regular expression on name, group, state, command · ! inverts"
        await self.ask(Question("/", hint, table.set_filter, table.set_filter, restore, value=before))

    def action_pane(self, by: int) -> None:
        """Move between table and log; if only one fits, show the other."""
        alone = self.has_class("single")
        reading = not self.has_class("reading") if alone else self.focused is self.table
        self.set_class(reading, "reading")
        self.set_focus(self.log_view if reading else self.table)

    def action_back(self) -> None:
        """Esc: out of the log, else drop marks and filters."""
        table = self.table
        if self.log_view.leave():
            return
        if self.focused is not table:
            self.action_pane(-1)
        elif table.marked:
            table.marked.clear()
            table.redraw()
        elif table.filter.text or table.only_failing:
            table.only_failing = False
            table.set_filter("")

    async def _hear_queue(self) -> None:
        """Subscribe to the queue; a push costs next to nothing, and without a queue there are none."""
        with suppress(ControlError):  # the next connection subscribes
            await self.pv.link.hear("queue", self, on=True)

    def _fit_queue(self) -> None:
        """Give the queue the lines that it needs, none if there is no queue."""
        strip, height = self.query_one(QueueStrip), self.size.height
        wanted = min(strip.needed(), max(4, height // 4))
        strip.set_class(wanted > 0, "used")
        strip.styles.height = wanted
        strip.redraw()

    def _fit_table(self) -> None:
        """Give the table the lines it needs, up to a third of the screen above the log, two thirds beside it."""
        height, needed = self.size.height, len(self.pv.picture.tasks) + 1
        wanted: int | str = "1fr"
        if self.has_class("stacked"):
            wanted = max(3, min(needed, max(LEAST_ROWS, height // 3)))
        elif self.has_class("wide"):
            wanted = max(6, min(needed, height * 2 // 3))
        if self._table_height != wanted:
            self._table_height = wanted
            self.table.styles.height = wanted
