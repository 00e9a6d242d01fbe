"""The facts of the selected task, shown on the first screen if there is room for them."""

from __future__ import annotations

from textual.strip import Strip

from paneview.control.model import TaskView
from paneview.tui import words
from paneview.tui.picture import Picture
from paneview.tui.tasks.why import why
from paneview.tui.text import clean, cut, wrap
from paneview.tui.theme import Inks
from paneview.tui.widgets.canvas import PLAIN, Canvas, Piece, line, spread
from paneview.tui.widgets.header import sparkline
from paneview.tui.widgets.news import event_pieces, with_previous

LABEL = 13


class Detail(Canvas):
    """Why it is as it is, in a sentence, and the facts."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.task_name: str | None = None
        self._said = ""

    def show(self, name: str | None) -> None:
        """Show this task."""
        self.task_name = name
        self.redraw()

    def tick(self) -> None:
        """A second has passed: draw again if the sentence has changed."""
        task = self.pv.picture.tasks.get(self.task_name or "")
        if task is not None and why(task, self.pv.picture) != self._said:
            self.redraw()

    def paint(self, width: int, height: int) -> list[Strip]:
        """A rule and the facts."""
        inks, picture = self.inks, self.pv.picture
        task = picture.tasks.get(self.task_name or "")
        left: list[Piece] = [("── ", inks.rule), (f"{clean(task.name) if task else 'task'} ", inks.title)]
        rule = spread(width, inks.base, left, [(" w why ──", inks.dim)], ("─", inks.rule))
        if task is None:
            return [rule]
        strips = [rule]
        base = inks.base
        self._said = why(task, picture)
        strips += [line(width, base, (f" {text}", PLAIN)) for text in wrap(self._said, max(10, width - 2))]
        strips.append(Strip.blank(width, base))
        known = facts(task, picture, inks, width - LABEL - 1)
        strips += [line(width, base, (f" {name:<{LABEL}}", inks.dim), *value) for name, value in known]
        room = height - len(strips) - 2
        if room > 0 and (past := [event for event in picture.events if event.task == task.name][-room:]):
            strips += [Strip.blank(width, base), line(width, base, (" lately", inks.dim))]
            strips += [
                line(width, base, *event_pieces(event, inks, 0, before))
                for event, before in with_previous(past)
            ]
        return strips


def facts(task: TaskView, picture: Picture, inks: Inks, room: int) -> list[tuple[str, list[Piece]]]:
    """Name and value of each fact that is known."""
    plain = PLAIN
    found: list[tuple[str, list[Piece]]] = [("command", [(cut(clean(task.command), room), plain)])]
    if task.description:
        found.append(("about", [(clean(task.description), plain)]))
    if task.cwd:
        found.append(("folder", [(clean(task.cwd), plain)]))
    if task.port:
        found.append(("port", [(str(task.port), plain)]))
    if task.depends_on:
        found.append(("needs", _tasks(task.depends_on, picture, inks)))
    if needed_by := [other.name for other in picture.tasks.values() if task.name in other.depends_on]:
        found.append(("needed by", _tasks(needed_by, picture, inks)))
    limited = task.restart_policy != "no" and task.max_restarts is not None
    policy = task.restart_policy + (f", at most {task.max_restarts}" if limited else "")
    found.append(("restarts", [(f"{task.restarts} (policy: {policy})", plain)]))
    if task.run is not None:
        began = words.dated(task.started_at, picture.clock()) if task.started_at and task.running else ""
        found.append(("run", [(f"{task.run} since {began}" if began else str(task.run), plain)]))
    if task.pid is not None:
        count = f", {words.plural(task.processes, 'process')}" if task.processes else ""
        found.append(("pid", [(f"{task.pid}{count}", plain)]))
    if task.cpu_percent is not None and task.rss_bytes:  # else it has not been measured yet
        curve = sparkline(list(picture.usage_of.get(task.name, ())), 24)
        found.append(("cpu", [(curve, inks.accent), (f" {words.percent(task.cpu_percent)}", plain)]))
    if task.rss_bytes:
        found.append(("memory", [(words.size(task.rss_bytes), plain)]))
    return found


def _tasks(names: tuple[str, ...] | list[str], picture: Picture, inks: Inks) -> list[Piece]:
    pieces: list[Piece] = []
    for name in names:
        task = picture.tasks.get(name)
        look = words.look(task) if task else words.Look("?", "unknown", "failed")
        pieces += [(f"{look.glyph} ", inks.role(look.role)), (f"{clean(name)}  ", PLAIN)]
    return pieces
