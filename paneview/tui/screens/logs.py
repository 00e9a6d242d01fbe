"""The second screen: logs in the whole terminal; one, several merged by time, or up to four side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.widget import Widget

from paneview.control.protocol import MERGES
from paneview.tui.keys.bindings import key
from paneview.tui.logs.view import LogView
from paneview.tui.picture import Change
from paneview.tui.screens.reading import ReadingScreen
from paneview.tui.widgets.hints import Hints

MOST_TILES = 4
LEAST_TILE = Size(50, 8)


class LogsScreen(ReadingScreen):
    """The log of the selected task, and the next and previous task's; or those of a group."""

    CRUMB = "logs"
    AUTO_FOCUS = "#log"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("log.search", "log.wrap", "log.filter", "log.follow", "help", "back"),
        "searched": ("log.search", "log.older", "log.newer", "log.follow", "help", "back"),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("logs.next", "right_curly_bracket,J", "other_task(1)", "Next task"),
        key("logs.previous", "left_curly_bracket", "other_task(-1)", "Previous task"),
        key("logs.group", "equals_sign", "group", "Merge", "Marked: merged, or tiles"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._tiled = False

    def body(self) -> Iterator[Widget]:
        """The logs; all but the first are shown only when they are needed."""
        with Container(id="tiles"):
            yield LogView(id="log")
            for number in range(2, MOST_TILES + 1):
                yield LogView(id=f"log-{number}")

    @property
    def group(self) -> list[str]:
        """The tasks that are shown together, if there are several."""
        return [name for name in self.pv.group if name in self.pv.picture.tasks]

    @property
    def log_view(self) -> LogView:
        """The log that has the focus."""
        return self.focused if isinstance(self.focused, LogView) else self.query_one("#log", LogView)

    def targets(self) -> list[str]:
        """The tasks of the log that is shown or, side by side, of the one with the focus."""
        state = self.log_view.state
        return [] if state is None else [name for name in state.tasks if name in self.pv.picture.tasks]

    def update(self, change: Change) -> None:
        """The picture has changed."""
        for view in self.query(LogView):
            view.update(change)

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Show the selected task, or the group."""
        self._arrange()

    def laid_out(self) -> None:
        """The new size may have room for fewer tiles."""
        if self.is_current:
            self._arrange()

    def situation(self) -> str:
        """A search has its own keys; else a line that is cut at the edge may be wrapped."""
        return "searched" if (state := self.log_view.state) is not None and state.search is not None else ""

    def tick(self) -> None:
        """A search may have begun or ended."""
        self.query_one(Hints).check()

    def action_back(self) -> None:
        """Esc: leave the log's selection, search or filter, else go back."""
        super().action_back()
        self.query_one(Hints).check()

    def go_to(self, name: str) -> None:
        """Show another task's log, alone."""
        self.pv.selected, self.pv.group = name, []
        self._arrange()

    def action_other_task(self, by: int) -> None:
        """The next or previous task, in the order of the table."""
        names = self.pv.shown_tasks()
        if names:
            at = names.index(self.pv.selected) if self.pv.selected in names else 0
            self.go_to(names[(at + by) % len(names)])

    def action_group(self) -> None:
        """Show the marked tasks' logs merged by time, the next time side by side if there is room, and so on."""
        if len(self.group) < 2:
            self.pv.group = self.pv.marked_tasks()
            self._tiled = False
        elif self._room() >= len(self.group[:MOST_TILES]):
            self._tiled = not self._tiled
        else:
            self.pv.tell("There is no room for logs side by side")
        if len(self.group) < 2:
            self.pv.tell("Mark two tasks or more in the table (space), then = merges their logs")
        self._arrange()

    def action_pane(self, by: int) -> None:
        """Move the focus to the next log side by side."""
        shown = [view for view in self.query(LogView) if view.display]
        at = shown.index(self.log_view) if self.log_view in shown else 0
        self.set_focus(shown[(at + by) % len(shown)])

    def _room(self) -> int:
        """How many logs fit side by side."""
        across, down = self.size.width // LEAST_TILE.width, (self.size.height - 2) // LEAST_TILE.height
        return 2 * min(2, down) if across >= 2 else 1

    def _arrange(self) -> None:
        """Give each view its log, and hide the others."""
        group = self.group
        if len(group) < 2:
            shown: list[str | None] = [self.pv.selected]
        elif self._tiled and self._room() >= len(group[:MOST_TILES]):
            shown = [*group[:MOST_TILES]]
        else:
            shown = [MERGES.join(group)]
        self.set_class(len(shown) > 1, "tiled")
        self.set_class(len(shown) > 2, "tall-tiles")
        for at, view in enumerate(self.query(LogView)):
            view.display = at < len(shown)
            view.show(shown[at] if at < len(shown) else None)
        if (self.focused is None or not self.focused.display) and not self.query("#prompt"):
            self.set_focus(self.query_one("#log"))
