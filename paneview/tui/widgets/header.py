"""The first line: the project, the screen, how the tasks are, and what needs a person."""

from __future__ import annotations

from collections.abc import Callable, Collection

from textual import events
from textual.strip import Strip

from paneview.control.flowmodel import FlowView
from paneview.tui import words
from paneview.tui.tasks.arrange import counts
from paneview.tui.text import cells, clean, cut
from paneview.tui.widgets.canvas import PLAIN, Canvas, Piece, spread

_COUNTS = (
    ("asking", "◆", "needs input", "attention"),
    ("failed", "✗", "failed", "failed"),
    ("changing", "◐", "changing", "attention"),
    ("ok", "●", "ok", "ok"),
    ("resting", "○", "idle", "dim"),
)
_ALL = tuple(key for key, *_ in _COUNTS)
_BARS = "▁▂▃▄▅▆▇█"
CURVE = 24
REVIVES = "paneview daemon"
LEAST_NAME = 12
LEAST_COUNTS = 16  # cells left for the counts when a request under way is shown


class Header(Canvas):
    """Breadcrumb at the left; counts and, if there is room, the project's CPU and memory at the right."""

    def __init__(self, *, crumb: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.crumb = crumb
        self.note: Callable[[], str] = lambda: ""
        self._from = 0  # column where the counts begin

    def on_click(self, event: events.Click) -> None:
        """A click at the left goes back to the fleet, one on the counts to what needs a person."""
        if event.x < self._from:
            self.pv.action_go("fleet")
        else:
            self.app.call_next(self.screen.run_action, "asking")

    def paint(self, width: int, height: int) -> list[Strip]:
        """The header's one line."""
        inks, picture = self.inks, self.pv.picture
        names = [("paneview", inks.accent)] if width >= 60 or not picture.session else []
        note = self.note()
        if picture.session:
            taken = 1 + sum(
                cells(text) + 3 for text in (*(name for name, _ in names), self.crumb, note) if text
            )
            room = max(
                LEAST_NAME, width - taken - LEAST_COUNTS
            )  # a long name hides neither screen nor counts
            names.append((cut(clean(picture.session), room), inks.title))
        names.append((self.crumb, inks.title))
        left: list[Piece] = [(" ", PLAIN)]
        for name, ink in names:
            left += [(f"{name} ", ink), ("› ", inks.dim)]
        left.pop()
        if note:
            left.append((f" {note} ", inks.attention))
        if doing := self.pv.doing.text:
            taken = sum(cells(text) for text, _ in left)
            left.append((cut(f" ◐ {clean(doing)} ", max(0, width - taken - LEAST_COUNTS)), inks.attention))
        room = width - sum(cells(text) for text, _ in left) - 2
        right = self._right(room)
        self._from = width - sum(cells(text) for text, _ in right)
        return [spread(width, inks.bar, left, right, (" ", inks.bar))]

    def _right(self, room: int) -> list[Piece]:
        inks, picture = self.inks, self.pv.picture
        if picture.link.phase == "starting":
            return [("◐ starting… ", inks.attention)]
        if picture.link.phase == "lost":
            return [(f"{self._lost(room)} ", inks.failed)]
        file, needs, usage, counted = self._file(), self._needs(), self._usage(curve=False), self._counts()
        wishes = (
            [*file, *needs, *counted, *self._usage(curve=True)],
            [*file, *needs, *counted, *usage],
            [*file, *counted, *usage],
            [*file, *counted],
            [*file, *self._counts(worded=("asking", "failed"))],
            [*file, *self._counts(worded=("asking",))],
            self._counts(only=("asking", "failed")),  # fewer counts are better than one without its word
            self._counts(only=("asking",)),
        )
        fitting = (wish for wish in wishes if wish and sum(cells(text) for text, _ in wish) <= room)
        return next(fitting, self._counts(worded=()))

    def _lost(self, room: int) -> str:
        """Why nothing moves, and what to do about it: the screen waits for a supervisor but starts none."""
        why = f"✗ disconnected: {clean(self.pv.picture.link.reason)}, reconnecting…"
        again = f"'{REVIVES}{self.pv.option}' starts another"
        texts = (f"{why} {again}", f"✗ disconnected: {again}", f"✗ {again}")
        return next((text for text in texts if cells(text) <= room), cut(why, room))

    def _counts(self, *, worded: Collection[str] = _ALL, only: Collection[str] = _ALL) -> list[Piece]:
        inks, found = self.inks, counts(self.pv.picture.tasks.values())
        found["asking"] += len(self._flows())
        pieces: list[Piece] = []
        for key, glyph, word, role in _COUNTS:
            if found[key] and key in only:
                said = "need input" if key == "asking" and found[key] > 1 else word
                text = f" {glyph} {found[key]} {said} " if key in worded else f" {glyph}{found[key]} "
                pieces.append((text, inks.role(role)))
        return pieces

    def _file(self) -> list[Piece]:
        return [("✗ file refused ", self.inks.failed)] if self.pv.picture.file_problem else []

    def _needs(self) -> list[Piece]:
        tasks = [
            task for task in self.pv.picture.tasks.values() if words.condition(task) in words.NEEDS_PERSON
        ]
        tasks.sort(key=words.rank)
        pieces: list[Piece] = []
        if tasks:
            shown = ", ".join(clean(task.name) for task in tasks[:3]) + ("…" if len(tasks) > 3 else "")
            pieces.append((f"! {shown} ", self.inks.role(words.look(tasks[0]).role)))
        if flows := self._flows():
            pieces.append((f"! {clean(flows[0].workflow)} on 4 ", self.inks.attention))
        return pieces

    def _flows(self) -> list[FlowView]:
        """The workflows that wait for a person."""
        return [flow for flow in self.pv.picture.flows.values() if flow.waits_for_person and not flow.over]

    def _usage(self, *, curve: bool) -> list[Piece]:
        inks, picture = self.inks, self.pv.picture
        if picture.used is None:
            return []
        cpu, memory = picture.used
        pieces: list[Piece] = [("  CPU ", inks.dim)]
        if curve:
            pieces.append((f"{sparkline(list(picture.usage), CURVE)} ", inks.accent))
        return [
            *pieces,
            (f"{words.percent(cpu):>6}", inks.title),
            ("  MEM ", inks.dim),
            (f"{words.size(memory):>5} ", inks.title),
        ]


def sparkline(values: list[float], width: int) -> str:
    """The last ``width`` values as bars, scaled to the largest of them, or to 10 if that is smaller."""
    shown = values[-width:]
    top = max(10.0, *shown) if shown else 10.0
    bars = "".join(_BARS[max(0, min(7, round(8 * value / top) - 1))] for value in shown)
    return bars.rjust(width, "▁")
