"""The rule above a log, and the text shown while the log has no line to show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.strip import Strip

from paneview.control.model import TaskView
from paneview.tui import words
from paneview.tui.logs.state import LogState
from paneview.tui.text import cells, clean, cut
from paneview.tui.theme import Inks
from paneview.tui.widgets.canvas import Piece, spread

LEAST_NAMES = 12  # cells for the names of the tasks, if they must be cut
LEAST_PATTERN = 4  # cells for a filter or a search
AROUND_NAMES = 5  # the rule and the spaces beside them


def rule(state: LogState | None, task: TaskView | None, width: int, inks: Inks, *, focused: bool) -> Strip:
    """The task with its state and reason, and the window's status, for which names are cut."""
    ink = inks.accent if focused else inks.title
    left: list[Piece] = [("── ", inks.rule)]
    if state is None:
        return spread(width, inks.base, [*left, ("log", ink), (" ", ink)], [], ("─", inks.rule))
    stands = standing(state, inks, width - AROUND_NAMES - LEAST_NAMES)
    right = [*stands, *extent(state, inks), (" ──", inks.rule)]
    room = width - AROUND_NAMES - _cells(stands)
    look = words.look(task) if task is not None else None
    said = f"{look.glyph} {look.word} " if look is not None else ""
    whole = named(state.tasks, room)
    if room - cells(said) < min(LEAST_NAMES, cells(whole)):
        said = ""
    left += [(named(state.tasks, room - cells(said)), ink), (" ", ink)]
    if task is not None and look is not None and said:
        left.append((said, inks.role(look.role)))
        reason = words.reason(task).removeprefix(f"{look.word} ")  # which is shown before it
        if task.needs_input:
            reason = f"i answers: {task.needs_input}"
        if reason:
            taken = _cells([*left, *right])
            left.append((cut(f"{clean(reason)} ", max(0, width - taken - 2)), inks.dim))
    return spread(width, inks.base, left, right, ("─", inks.rule))


def named(tasks: Sequence[str], room: int) -> str:
    """The names of tasks in so many cells: the first ones, and how many more there are."""
    names = [clean(task) for task in tasks]
    for shown in range(len(names), 1, -1):
        text = " + ".join(names[:shown]) + _more(len(names) - shown)
        if cells(text) <= room:
            return text
    more = _more(len(names) - 1)
    return cut(names[0], max(1, room - cells(more))) + more


def _more(count: int) -> str:
    return f" + {count} more" if count else ""


def standing(state: LogState, inks: Inks, room: int) -> list[Piece]:
    """The window's status: filter, search, selection, following or paused; patterns are cut to fit."""
    stands: list[Piece] = []
    if (chosen := state.selection()) is not None:
        count = words.plural(len(state.source.between(*chosen)), "line")
        stands.append((f" {count} selected, y copies ·", inks.mark))
    stands.append((" ▼ following", inks.ok) if state.follow else (" ‖ paused", inks.attention))
    finders = [(sign, one) for sign, one in (("&", state.filter), ("/", state.search)) if one is not None]
    share = (room - _cells(stands)) // max(1, len(finders))
    sought: list[Piece] = []
    for sign, finder in finders:
        where = f" {cut(finder.position(), max(LEAST_NAMES, share - LEAST_PATTERN - 5))} ·"
        text = cut(clean(finder.query.text), max(LEAST_PATTERN, share - cells(where) - 2))
        sought.append((f" {sign}{text}{where}", inks.attention))
    return [*sought, *stands]


def extent(state: LogState, inks: Inks) -> list[Piece]:
    """How many lines have come since the pause, and how many there are: dropped first if room is short."""
    new = 0 if state.follow else max(0, state.feed.head - state.paused_at)
    came = [(f", {new:,} new", inks.attention)] if new else []
    return [*came, (f" · {words.plural(state.feed.head - state.feed.first, 'line')}", inks.dim)]


def _cells(pieces: Iterable[Piece]) -> int:
    return sum(cells(text) for text, _ in pieces)


def no_task(elsewhere: bool) -> str:
    """Shown if there is no task whose log it could be; ``elsewhere``: not beside the table of tasks."""
    return " No task is selected" + (". 1 shows all tasks" if elsewhere else "")


def why_empty(state: LogState, task: TaskView | None) -> str:
    """Why there is no line, and the key that helps."""
    if state.feed.error:
        return clean(state.feed.error)
    if state.filter is not None:
        return "No line matches. Esc shows all" if state.filter.complete else "searching…"
    if not state.feed.known:
        return "loading…"
    if task is not None and task.state in ("idle", "stopped"):
        return "No output yet. s starts the task"
    return "No output yet"
