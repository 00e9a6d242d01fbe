"""The second screen: one task's log in the whole terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from paneview.tui.keys import key
from paneview.tui.screens.reading import ReadingScreen
from paneview.tui.widgets.logview import LogView


class LogsScreen(ReadingScreen):
    """The log of the selected task, and the next and previous task's."""

    CRUMB = "logs"
    AUTO_FOCUS = "#log"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("log.search", "log.older", "log.filter", "log.follow", "help", "back")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("logs.next", "right_curly_bracket,J", "other_task(1)", "Next task"),
        key("logs.previous", "left_curly_bracket", "other_task(-1)", "Previous task"),
    ]

    def body(self) -> Iterator[Widget]:
        """Only the log."""
        yield LogView(id="log")

    def targets(self) -> list[str]:
        """The task whose log is shown."""
        return [self.pv.selected] if self.pv.selected else []

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Show the selected task."""
        self.log_view.show(self.pv.selected)

    def on_screen_suspend(self, _event: events.ScreenSuspend) -> None:
        """Nothing more is asked for."""

    def go_to(self, name: str) -> None:
        """Another task's log."""
        self.pv.selected = name
        self.log_view.show(name)

    def action_other_task(self, by: int) -> None:
        """The next or previous task, in the order of the table."""
        names = self.pv.shown_tasks()
        if names:
            at = names.index(self.pv.selected) if self.pv.selected in names else 0
            self.pv.selected = names[(at + by) % len(names)]
            self.log_view.show(self.pv.selected)
