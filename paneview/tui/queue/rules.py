"""The lines between the panes of the queue's screen, and the text shown if there is nothing to list."""

from __future__ import annotations

from textual.strip import Strip

from paneview.control.queuemodel import MOST_DEAD, QueueView
from paneview.tui.queue.jobs import JobTable
from paneview.tui.queue.state import JobQuery, Jobs
from paneview.tui.text import clean, cut
from paneview.tui.theme import Inks
from paneview.tui.widgets.canvas import Piece, line, spread
from paneview.tui.widgets.listing import marks_told


def note(width: int, inks: Inks, queue: QueueView | None) -> list[Strip]:
    """What is wrong with the queue, or the warnings about its set-up."""
    if queue is None:
        return []
    if queue.problem:
        text, ink = f" ✗ the queue cannot be reached: {clean(queue.problem)}", inks.failed
    else:
        text, ink = f" ! {clean('; '.join(queue.warnings))}", inks.attention
    return [line(width, inks.base, (cut(text, width), ink))]


def workers(width: int, inks: Inks, queue: QueueView | None) -> list[Strip]:
    """The rule above the workers."""
    alive = sum(worker.alive for worker in queue.workers) if queue is not None else 0
    left: list[Piece] = [("── ", inks.rule), ("workers ", inks.title), (f"{alive} alive ", inks.dim)]
    if queue is not None and queue.quarantined:
        left.append((f"✗ {len(queue.quarantined)} quarantined ", inks.failed))
    return [spread(width, inks.base, left, [(" U release ──", inks.dim)], ("─", inks.rule))]


def jobs(width: int, inks: Inks, queue: QueueView | None, asked: JobQuery, table: JobTable) -> list[Strip]:
    """The rule above the jobs: which of them are shown, and how many are marked."""
    left: list[Piece] = [("── ", inks.rule), ("jobs ", inks.title)]
    if asked.target:
        left.append((f"for {clean(asked.target)} ", inks.accent))
    if asked.shown != "all":
        left.append((f"{asked.shown} ", inks.accent))
    if table.filter.told:
        left.append((f"/{table.filter.told} ", inks.attention))
    if marks := marks_told(table.marked, table.keys):
        left.append((f"{marks} ", inks.attention))
    if queue is not None and queue.dead:
        left.append((f"✗ {queue.dead}{'+' if queue.dead >= MOST_DEAD else ''} dead ", inks.failed))
    return [spread(width, inks.base, left, [(" f states  / filter ──", inks.dim)], ("─", inks.rule))]


def why_no_jobs(queue: QueueView | None, found: Jobs, kept: str) -> str:
    """Shown in place of the jobs: why there are none, and the key that helps."""
    if found.problem:
        return clean(found.problem)
    if queue is None or (queue.in_use and found.loading):
        return "loading…"
    if kept:
        return f"No job matches {clean(kept)}. Esc clears the filter"
    if found.question.shown != "all":
        return f"No job is {found.question.shown}. f shows others"
    whom = f" for {clean(found.question.target)}" if found.question.target else ""
    return f"No jobs{whom} yet. d dispatches one"
