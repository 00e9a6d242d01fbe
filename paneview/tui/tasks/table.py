"""The table of tasks.

In a narrow terminal columns are dropped (memory, CPU, pid, group), never name, state and exit; the room that is left
says why a task does not run, or what it is. Once a second only the lines whose displayed uptime or remaining wait
has changed are drawn again.

A task that waits for an answer is always in view: if its line is scrolled or filtered away, it is shown in place of
the heading, so that neither the cursor nor a line has to move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from paneview.control.model import TaskView
from paneview.text import with_option
from paneview.tui import words
from paneview.tui.keys.bindings import key, key_for
from paneview.tui.picture import Change
from paneview.tui.tasks.arrange import ORDERS, arrange
from paneview.tui.text import cells, clean, cut, fit, fit_name
from paneview.tui.widgets.canvas import PLAIN, Piece, line, spread
from paneview.tui.widgets.columns import ALWAYS, PREFIX, Column
from paneview.tui.widgets.listing import CURSOR, Listing, marks_told
from paneview.tui.widgets.rowfilter import RowFilter

LEAST_DETAIL = 16
LEAST_NAME, MOST_NAME = 8, 26
MOST_GROUP = 12
COLUMNS = (
    Column("state", "STATE", 13),
    Column("exit", "EXIT", 5, right=True),
    Column("up", "UP", 6, keep=8, right=True),
    Column("restarts", "RST", 4, keep=7, right=True),
    Column("cpu", "CPU", 6, keep=2, right=True),
    Column("memory", "MEM", 5, keep=1, right=True),
    Column("pid", "PID", 7, keep=3, right=True),
    Column("group", "GROUP", 10, keep=4),
)


class Plan(NamedTuple):
    """The widths for one table width: the name's, the columns shown, and the detail's (0: none)."""

    name: int
    columns: tuple[Column, ...]
    detail: int


def plan(width: int, longest_name: int, longest_group: int) -> Plan:
    """Fit the columns into ``width`` cells."""
    name = max(LEAST_NAME, min(longest_name, MOST_NAME))
    group = max(5, min(longest_group, MOST_GROUP)) if longest_group else 0
    columns = [column._replace(width=group) if column.key == "group" else column for column in COLUMNS]
    columns = [column for column in columns if column.width]

    def left() -> int:
        return width - PREFIX - name - sum(column.width + 1 for column in columns)

    while left() < 0 and any(column.keep < ALWAYS for column in columns):
        columns.remove(min(columns, key=lambda column: column.keep))
    if left() < 0:
        name = max(LEAST_NAME, name + left())
    detail = left() - 2
    return Plan(name, tuple(columns), detail if detail >= LEAST_DETAIL else 0)


class TaskTable(Listing):
    """All tasks of the picture that pass the filter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("table.mark", "space", "toggle_mark", "Mark", "Mark for the next action"),
        key("table.mark_all", "asterisk", "mark_all", "Mark all", "Mark all that are shown"),
        key("table.order", "o", "next_order", "Sort", "Sort by the next column"),
        key("table.failing", "f", "toggle_failing", "Failing", "Only what fails"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, empty=self._why_empty)
        self.order = "urgency"
        self.only_failing = False
        self.filter = RowFilter()
        self.marked: set[str] = set()
        self._plan = Plan(LEAST_NAME, (), 0)
        self._rows: dict[str, tuple[object, Strip]] = {}
        self._times_drawn: list[tuple[str, str]] = []
        self._unseen = False
        self.noted: Callable[[], object] = lambda: None

    @property
    def selected(self) -> TaskView | None:
        """The task under the cursor."""
        return self.pv.picture.tasks.get(self.cursor or "")

    def note(self) -> str:
        """What keeps the table from showing all tasks in the usual order, and how many are marked."""
        parts = [
            f"/{self.filter.told}" if self.filter.text else "",
            "only failing" if self.only_failing else "",
            f"by {self.order}" if self.order != "urgency" else "",
            marks_told(self.marked, self.keys),
        ]
        return " · ".join(part for part in parts if part)

    def redraw(self) -> None:
        """Draw the table, and have its `note` in the header drawn again."""
        super().redraw()
        self.noted()

    def tick(self) -> None:
        """A second has passed: draw the lines in which a time has changed."""
        if self._read_times() != self._times_drawn:
            super().redraw()

    def targets(self) -> list[str]:
        """What an action applies to: the marked tasks, else the one under the cursor. What is hidden is left alone."""
        return self.marks() or ([self.cursor] if self.cursor else [])

    def marks(self) -> list[str]:
        """The marked tasks that are shown."""
        return [name for name in self.keys if name in self.marked]

    def update(self, change: Change | None = None) -> None:
        """Show the picture as it is now."""
        picture = self.pv.picture
        if change is not None and not change.tasks and not change.order:
            return
        self.marked &= picture.tasks.keys()
        self._rows = {name: row for name, row in self._rows.items() if name in picture.tasks}
        self.set_keys(arrange(picture.tasks.values(), self.order, self.only_failing, self.filter))

    def set_filter(self, text: str) -> None:
        """Show only what matches; an empty text shows all."""
        self.filter = RowFilter(text)
        self.update()

    def paint(self, width: int, height: int) -> list[Strip]:
        """The table, with column widths that fit what it holds now."""
        tasks = self.pv.picture.tasks
        longest = max((cells(clean(name)) for name in self.keys), default=0)
        longest_group = max((cells(clean(task.group or "")) for task in tasks.values()), default=0)
        self._plan = plan(width, longest, longest_group)
        strips = super().paint(width, height)
        self._times_drawn = self._read_times()
        unseen = [name for name, task in tasks.items() if task.needs_input and name not in self.in_view]
        self._unseen = bool(unseen)
        return [self._asking(tasks[unseen[0]], len(unseen), width), *strips[1:]] if unseen else strips

    def heading(self, width: int) -> Strip:
        """The columns' titles, with a mark at the one that the table is sorted by."""
        inks, shape = self.inks, self._plan
        pieces: list[Piece] = [(" " * PREFIX + fit(self._title("name", "TASK"), shape.name), inks.dim)]
        for column in shape.columns:
            text = self._title(column.key, column.title)
            pieces.append((" " + fit(text, column.width, right=column.right), inks.dim))
        if shape.detail:
            pieces.append(("  " + fit("WHY / WHAT", shape.detail), inks.dim))
        return line(width, inks.base, *pieces)

    def heading_clicked(self, x: int) -> None:
        """A click on a title sorts by it, a second one by urgency; on a waiting task shown instead, goes to it."""
        if self._unseen:
            self.app.call_next(self.screen.run_action, "asking")
            return
        end = PREFIX + self._plan.name
        name = "name" if x < end else ""
        for column in self._plan.columns:
            end += 1 + column.width
            name = name or (column.key if x < end else "")
        wanted = {"state": "urgency"}.get(name, name)
        if wanted in ORDERS:
            self.order = wanted if wanted != self.order else "urgency"
            self.update()
            self.post_message(self.Moved(self, self.cursor))

    def row(self, key: str, width: int, style: Style) -> Strip:
        """One task; the cached line as long as nothing in it has changed."""
        task, now = self.pv.picture.tasks.get(key), self.pv.picture.clock()
        if task is None:  # gone from the picture; the next frame drops the line, too
            return line(width, style)
        reads = (
            task,
            _times(task, now),
            (width, style, self._plan, key == self.cursor, self.has_focus, key in self.marked),
        )
        kept = self._rows.get(key)
        if kept is None or kept[0] != reads:
            kept = self._rows[key] = (reads, self._row(task, width, style))
        return kept[1]

    def _read_times(self) -> list[tuple[str, str]]:
        """The times in the lines in view."""
        tasks, now = self.pv.picture.tasks, self.pv.picture.clock()
        return [_times(tasks[name], now) for name in self.in_view if name in tasks]

    def _row(self, task: TaskView, width: int, style: Style) -> Strip:
        inks, shape, key = self.inks, self._plan, task.name
        look = words.look(task)
        role = inks.role(look.role)
        selected = key == self.cursor
        quiet = look.role == "dim" and not selected
        pieces: list[Piece] = [
            (CURSOR if selected else " ", inks.accent if self.has_focus else inks.dim),
            ("+" if key in self.marked else " ", inks.mark),
            (fit_name(clean(key), shape.name), inks.dim if quiet else inks.title),
        ]
        now = self.pv.picture.clock()
        for column in shape.columns:
            text = fit(_CELLS[column.key](task, now), column.width, right=column.right)
            pieces.append((f" {text}", role if column.key == "state" else inks.dim))
        if shape.detail:
            troubled = look.role in ("failed", "attention")
            pieces.append((f"  {fit(_detail(task), shape.detail)}", PLAIN if troubled else inks.dim))
        return line(width, style, *pieces)

    def action_toggle_mark(self) -> None:
        """Mark the task for the next action, and go on to the next one."""
        if self.cursor:
            self.marked ^= {self.cursor}
            self.action_move(1)
            self.redraw()
            self.post_message(self.Moved(self, self.cursor))

    def action_mark_all(self) -> None:
        """Mark all that are shown; once more: none."""
        shown = set(self.keys)
        self.marked = set() if shown <= self.marked else self.marked | shown
        self.redraw()
        self.post_message(self.Moved(self, self.cursor))

    def action_next_order(self) -> None:
        """Sort by the next criterion."""
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]
        self.update()
        self.post_message(self.Moved(self, self.cursor))

    def action_toggle_failing(self) -> None:
        """Show only what fails, or all again."""
        self.only_failing = not self.only_failing
        self.update()
        self.post_message(self.Moved(self, self.cursor))

    def repaint(self) -> None:
        """Draw again, in other colours."""
        self._rows.clear()
        super().repaint()

    def _asking(self, task: TaskView, count: int, width: int) -> Strip:
        """Shown in place of the heading: the task out of view that waits for an answer."""
        inks, look = self.inks, words.look(task)
        key = key_for(self.screen, "task.asking")  # none while a prompt would take the key
        goes = f" {key} goes there " if key else ""
        more = f" and {count - 1} more" if count > 1 else ""
        head = f"{look.glyph} {clean(task.name)} {look.word}{more}: "
        room = width - PREFIX - cells(head) - cells(goes) - 1
        question = cut(clean(task.needs_input or ""), max(0, room))
        left: list[Piece] = [(" " * PREFIX, PLAIN), (head, inks.attention), (question, PLAIN)]
        return spread(width, inks.base, left, [(goes, inks.accent)], (" ", inks.base))

    def _title(self, key: str, title: str) -> str:
        return title + "▾" if key == self.order else title

    def _why_empty(self) -> str:
        picture = self.pv.picture
        if picture.link.phase == "starting":
            return "starting…"
        if not picture.tasks:
            return with_option(words.NO_TASKS, self.pv.option)
        if self.only_failing:
            return "Nothing fails. f shows all tasks"
        return f"No task matches {self.filter.told}. Esc clears the filter"


_CELLS: dict[str, Callable[[TaskView, float], str]] = {
    "state": words.state_text,
    "up": words.uptime_text,
    "exit": lambda task, _: words.exit_text(task),
    "restarts": lambda task, _: str(task.restarts) if task.restarts else "",
    "cpu": lambda task, _: words.percent(task.cpu_percent or 0.0) if task.rss_bytes else "",
    "memory": lambda task, _: words.size(task.rss_bytes) if task.rss_bytes else "",
    "pid": lambda task, _: "" if task.pid is None else str(task.pid),
    "group": lambda task, _: clean(task.group or ""),
}


def _times(task: TaskView, now: float) -> tuple[str, str]:
    """The parts of a line that change as time passes."""
    return words.state_text(task, now), words.uptime_text(task, now)


def _detail(task: TaskView) -> str:
    about: tuple[str | None, ...] = (task.description, task.command)
    troubled = words.look(task).role in ("failed", "attention") or task.state == "stopped"
    reason = words.reason(task)
    texts = (reason, *about) if troubled else (*about, reason)
    return clean(next((text for text in texts if text), ""))
