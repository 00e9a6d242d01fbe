"""The screen of dependencies: which task needs which, and the state of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.style import Style
from textual import on
from textual.binding import BindingType
from textual.strip import Strip
from textual.widget import Widget

from paneview.text import with_option
from paneview.tui import words
from paneview.tui.keys.bindings import key
from paneview.tui.picture import Change
from paneview.tui.question import Question
from paneview.tui.screens.base import MainScreen
from paneview.tui.tasks.arrange import texts
from paneview.tui.tasks.tree import Branch, branches
from paneview.tui.text import cells, clean, cut, fit
from paneview.tui.widgets.canvas import PLAIN, Piece, line
from paneview.tui.widgets.header import Header
from paneview.tui.widgets.listing import CURSOR, Listing
from paneview.tui.widgets.rowfilter import RowFilter
from paneview.tui.words import NO_TASKS

STATE = 18
MOST_NAME = 48


class Tree(Listing):
    """A line for each task, with what it needs below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("graph.fold", "h,left", "fold(True)", "Fold", "Fold what it needs"),
        key("graph.unfold", "l,right", "fold(False)", "Unfold", "Show what it needs"),
        key("graph.fold_all", "z", "fold_all", "Fold all", "Fold or unfold all"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, empty=self._why_empty)
        self.filter = RowFilter()
        self._folded: set[tuple[str, ...]] = set()
        self._branches: dict[str, Branch] = {}

    def _why_empty(self) -> str:
        if self.pv.picture.link.phase == "starting":
            return "starting…"
        if not self.pv.picture.tasks:
            return with_option(NO_TASKS, self.pv.option)
        return f"No task matches {self.filter.told}. Esc clears the filter"

    @property
    def task_name(self) -> str | None:
        """The task under the cursor."""
        branch = self._branches.get(self.cursor or "")
        return branch.name if branch else None

    def update(self) -> None:
        """Show the picture as it is now."""
        tasks = self.pv.picture.tasks
        found = branches(tasks, self._folded)
        if self.filter.text:
            kept = {task.name for task in self.filter.choose(tasks.values(), texts)}
            found = [one for one in found if one.name in kept]
        self._branches = {"\0".join(branch.path): branch for branch in found}
        self.set_keys(list(self._branches))

    def show(self, name: str) -> None:
        """Put the cursor on the first line of this task."""
        for place, branch in self._branches.items():
            if branch.name == name:
                self.select(place)
                return

    def row(self, key: str, width: int, style: Style) -> Strip:
        """One task: its place in the tree, its name, its state, and why."""
        inks, branch = self.inks, self._branches[key]
        task = self.pv.picture.tasks.get(branch.name)
        look = words.look(task) if task else words.Look("?", "unknown", "failed")
        fold = " " if not branch.foldable else "▸" if branch.path in self._folded else "▾"
        longest = max(cells(one.lines) + cells(clean(one.name)) for one in self._branches.values()) + 3
        room = max(12, min(longest, MOST_NAME, width - STATE - 3))
        name = fit(f"{branch.lines}{fold} {clean(branch.name)}", room)
        taken = cells(branch.lines)
        state = words.state_text(task, self.pv.picture.clock()) if task else f"{look.glyph} {look.word}"
        told = "as above" if branch.again else words.reason(task) if task else ""
        pieces: list[Piece] = [
            (CURSOR if key == self.cursor else " ", inks.accent),
            (name[:taken], inks.dim),
            (name[taken:], inks.dim if branch.again else inks.title),
            (f" {fit(state, STATE - 2)} ", inks.role(look.role)),
            (cut(told, max(0, width - room - STATE - 2)), PLAIN if look.role == "failed" else inks.dim),
        ]
        return line(width, style, *pieces)

    def action_fold(self, fold: bool) -> None:
        """Hide or show what the task needs; if there is nothing to hide, go to the parent line."""
        branch = self._branches.get(self.cursor or "")
        if branch is None:
            return
        if not fold:
            self._folded.discard(branch.path)
        elif branch.foldable and branch.path not in self._folded:
            self._folded.add(branch.path)
        elif len(branch.path) > 1:
            self.select("\0".join(branch.path[:-1]))
        self.update()

    def action_fold_all(self) -> None:
        """Show only the topmost tasks, or everything again."""
        everything = {one.path for one in branches(self.pv.picture.tasks, ()) if one.foldable}
        self._folded = set() if self._folded else everything
        self.update()


class GraphScreen(MainScreen):
    """What each task depends on, as a tree."""

    CRUMB = "graph"
    AUTO_FOCUS = "#graph"
    HINTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "": ("graph.fold", "graph.unfold", "task.why", "graph.filter", "help", "back")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        key("graph.filter", "slash", "find", "Filter", "Filter: regex, ! inverts"),
        key("graph.drill", "enter", "app.go('logs')", "Log", "Log in the whole screen"),
    ]

    def body(self) -> Iterator[Widget]:
        """Only the tree."""
        yield Tree(id="graph")

    def on_mount(self) -> None:
        """Start at the task that is selected elsewhere; the header shows the filter."""
        header = self.query_one(Header)
        header.note = lambda: f"/{self.tree_view.filter.told}" if self.tree_view.filter.text else ""
        self.tree_view.update()
        if self.pv.selected is not None:
            self.tree_view.show(self.pv.selected)

    @property
    def tree_view(self) -> Tree:
        """The tree of dependencies."""
        return self.query_one(Tree)

    def targets(self) -> list[str]:
        """The task under the cursor."""
        name = self.tree_view.task_name
        return [name] if name in self.pv.picture.tasks and name is not None else []

    def go_to(self, name: str) -> None:
        """Select this task."""
        self.pv.selected = name
        self.tree_view.show(name)

    def update(self, change: Change) -> None:
        """The picture has changed."""
        if change.tasks or change.order:
            self.tree_view.update()

    def tick(self) -> None:
        """Show the remaining times."""
        self.tree_view.redraw()

    @on(Listing.Moved)
    def select_task(self) -> None:
        """Another task is selected: on the other screens as well."""
        if names := self.targets():
            self.pv.selected = names[0]

    @on(Listing.Chosen)
    def drill_down(self) -> None:
        """A click on the selected task."""
        self.pv.action_go("logs")

    async def action_find(self) -> None:
        """Show only what matches."""
        hint = "regular expression on name, group, state, command · ! inverts"
        before = self.tree_view.filter.text
        await self.ask(
            Question("/", hint, self._filter, self._filter, lambda: self._filter(before), value=before)
        )

    def action_back(self) -> None:
        """Esc: everything again, else back."""
        if self.tree_view.filter.text:
            self._filter("")
        else:
            super().action_back()

    def _filter(self, text: str) -> None:
        self.tree_view.filter = RowFilter(text)
        self.tree_view.update()
        self.query_one(Header).redraw()
