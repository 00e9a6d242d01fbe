"""Lines to read: wrapped, scrolled, and kept at their end while they grow, until the user scrolls up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from textual.strip import Strip

from paneview.tui.text import clean, cut, wrap
from paneview.tui.widgets.canvas import PLAIN, Piece, line, spread
from paneview.tui.widgets.scrolling import Scrolling

LABEL = 11
MOST_LINES = 20_000  # kept; if there are more, the first are dropped
NARROWEST = 10  # cells left for text


class Line(NamedTuple):
    """A line. ``role`` is its ink; with a label, even an empty one, it begins after the column of labels."""

    text: str
    role: str = ""
    label: str | None = None


class TextPane(Scrolling):
    """A rule with a title, and lines below it."""

    GROWS = True

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.title: Sequence[tuple[str, str]] = ()
        """Texts with their roles."""
        self.hint = ""
        self.what: object = None
        self.lines: list[Line] = []
        self._rows: list[list[Piece]] = []
        self._wrapped = 0
        self._made_for = 0

    def show(self, what: object, lines: Iterable[Line], *, follow: bool = False) -> None:
        """Show these lines; the position is kept if ``what`` is the same as before."""
        if what != self.what:
            self.top, self.follow, self.what = 0, follow, what
        self.lines = list(lines)
        self._made_for = 0
        self.redraw()

    def add(self, lines: Iterable[Line]) -> None:
        """Append these lines."""
        self.lines.extend(lines)
        if len(self.lines) > MOST_LINES * 5 // 4:
            self.lines = [Line("… what came before is left out here", "dim"), *self.lines[-MOST_LINES:]]
            self._made_for = 0
        self.redraw()

    def paint(self, width: int, height: int) -> list[Strip]:
        """The rule, and what is in view."""
        inks = self.inks
        self._wrap(width)
        shown = self.place(len(self._rows), height)
        title: list[Piece] = [("── ", inks.accent if self.has_focus else inks.rule)]
        title += [(f"{cut(clean(text), width - 8)} ", inks.role(role)) for text, role in self.title]
        right: list[Piece] = []
        if where := self.where(shown):
            right.append((where, inks.dim))
        if self.hint:
            right.append((f" {self.hint}", inks.dim))
        if right:
            right[-1] = (f"{right[-1][0]} ──", inks.dim)
        return [
            spread(width, inks.base, title, right, ("─", inks.rule)),
            *[line(width, inks.base, *pieces) for pieces in self._rows[shown.start : shown.stop]],
        ]

    def repaint(self) -> None:
        """Draw again, in other colours."""
        self._made_for = 0
        super().repaint()

    def _wrap(self, width: int) -> None:
        """Make rows for the lines that have none yet."""
        if self._made_for != width:
            self._rows, self._wrapped, self._made_for = [], 0, width
        for one in self.lines[self._wrapped :]:
            self._rows.extend(self._fold(one, width))
        self._wrapped = len(self.lines)

    def _fold(self, one: Line, width: int) -> Iterable[list[Piece]]:
        inks = self.inks
        ink = inks.role(one.role) if one.role else PLAIN
        body = clean(one.text.expandtabs(4))
        indent = min(len(body) - len(body.lstrip(" ")), width // 2)
        label = one.label
        margin = 1 if label is None else LABEL + 2
        for at, part in enumerate(wrap(body.strip(" "), max(NARROWEST, width - margin - indent))):
            head: list[Piece] = [(" " * (margin + indent), PLAIN)]
            if label is not None:
                head = [(f" {label if not at else '':<{LABEL}} ", inks.dim), (" " * indent, PLAIN)]
            yield [*head, (part, ink)]


def lines_of(text: str, role: str = "", label: str | None = None) -> Iterable[Line]:
    """A text's lines; the label stands before the first."""
    for at, one in enumerate(text.splitlines()):
        yield Line(one, role, label if not at or label is None else "")
