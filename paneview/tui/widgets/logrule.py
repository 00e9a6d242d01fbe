"""What is told about a log: the rule above it, and the words where there is no line to show."""

from __future__ import annotations

from textual.strip import Strip

from paneview.control.model import TaskView
from paneview.tui import words
from paneview.tui.canvas import Piece, spread
from paneview.tui.logstate import LogState
from paneview.tui.text import clean, cut
from paneview.tui.theme import Inks


def rule(state: LogState | None, task: TaskView | None, width: int, inks: Inks, *, focused: bool) -> Strip:
    """The task with its state and why, and where the window stands."""
    ink = inks.accent if focused else inks.title
    left: list[Piece] = [("── ", inks.rule)]
    if state is None:
        return spread(width, inks.base, [*left, ("log", ink), (" ", ink)], [], ("─", inks.rule))
    left += [(" + ".join(map(clean, state.tasks)), ink), (" ", ink)]
    right = [*standing(state, inks), (" ──", inks.rule)]
    if task is not None:
        look = words.look(task)
        left.append((f"{look.glyph} {look.word} ", inks.role(look.role)))
        reason = words.reason(task).removeprefix(f"{look.word} ")  # which stands before it
        if task.needs_input:
            reason = f"i answers: {task.needs_input}"
        if reason:
            taken = sum(len(text) for text, _ in [*left, *right])
            left.append((cut(f"{clean(reason)} ", max(0, width - taken - 2)), inks.dim))
    return spread(width, inks.base, left, right, ("─", inks.rule))


def standing(state: LogState, inks: Inks) -> list[Piece]:
    """Following, paused and by how much, the search, the filter; the most telling first."""
    pieces: list[Piece] = []
    if state.filter is not None:
        pieces.append((f" &{clean(state.filter.query.text)} {state.filter.position()} ·", inks.attention))
    if state.search is not None:
        pieces.append((f" /{clean(state.search.query.text)} {state.search.position()} ·", inks.attention))
    if (chosen := state.selection()) is not None:
        count = words.plural(len(state.source.between(*chosen)), "line")
        pieces.append((f" {count} selected, y copies ·", inks.mark))
    if state.follow:
        pieces.append((" ▼ following", inks.ok))
    else:
        new = max(0, state.feed.head - state.paused_at)
        pieces.append((" ‖ paused", inks.attention))
        if new:
            pieces.append((f", {new:,} new", inks.attention))
    pieces.append((f" · {words.plural(state.feed.head - state.feed.first, 'line')}", inks.dim))
    return pieces


def why_empty(state: LogState, task: TaskView | None) -> str:
    """Why there is no line, and the next key."""
    if state.feed.error:
        return clean(state.feed.error)
    if state.filter is not None:
        return "No line matches. Esc shows all" if state.filter.complete else "searching…"
    if not state.feed.known:
        return "loading…"
    if task is not None and task.state in ("idle", "stopped"):
        return "No output yet. s starts the task"
    return "No output yet"
