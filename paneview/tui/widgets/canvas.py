"""Widgets that draw themselves line by line.

Textual's own tables and lists lay out and style each cell; here a widget turns its data into finished lines, and only
the lines that differ from those on the screen are drawn again. So an idle screen draws nothing, and a busy one is
drawn within its frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from paneview.tui.text import cells

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp
    from paneview.tui.theme import Inks

Piece = tuple[str, Style]
PLAIN = Style()


def line(width: int, base: Style, *pieces: Piece) -> Strip:
    """The pieces, each in its style over ``base``, in exactly ``width`` cells."""
    if base.reverse:  # how a terminal with few colours shows the selection: other colours would break it up
        pieces = tuple((text, style.without_color) for text, style in pieces)
    segments = [Segment(text, base + style) for text, style in pieces if text]
    used = sum(cells(text) for text, _ in pieces)
    strip = Strip(segments, used)
    return strip if used == width else strip.adjust_cell_length(width, base)


def spread(width: int, base: Style, left: Sequence[Piece], right: Sequence[Piece], filler: Piece) -> Strip:
    """The left pieces at the left edge, the right ones at the right; the last of those are dropped if all don't fit."""
    used = sum(cells(text) for text, _ in left)
    while right and used + sum(cells(text) for text, _ in right) >= width:
        right = right[:-1]
    room = width - used - sum(cells(text) for text, _ in right)
    text, style = filler
    return line(width, base, *left, (text * max(0, room), style), *right)


class Canvas(Widget):
    """A widget made of strips. Subclasses give `paint`, and call `redraw` when something has changed."""

    ALLOW_SELECT: ClassVar[bool] = False

    _strips: list[Strip]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self._strips = []
        self._painted_for: tuple[int, int] | None = None

    @property
    def pv(self) -> PaneviewApp:
        """The app, with its own type."""
        return cast("PaneviewApp", self.app)

    @property
    def inks(self) -> Inks:
        """The theme's styles."""
        return self.pv.inks

    def paint(self, width: int, height: int) -> list[Strip]:
        """All lines of the widget, each exactly ``width`` cells."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Paint, and draw the lines that differ again."""
        width, height = self.size
        if not self.is_attached or not height or not width:
            return
        before, same_size = self._strips, self._painted_for == (width, height)
        self._paint_now(width, height)
        if not same_size:
            self.refresh()
            return
        changed = [
            y
            for y, (old, new) in enumerate(zip(before, self._strips, strict=False))
            if old is not new and old != new
        ]
        if changed:
            self.refresh(*[Region(0, first, width, count) for first, count in _runs(changed)])

    def repaint(self) -> None:
        """Paint, and draw everything again: the colours have changed."""
        self._painted_for = None
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """One line, for Textual's compositor."""
        width, height = self.size
        if self._painted_for != (width, height):
            self._paint_now(width, height)
        return self._strips[y] if y < len(self._strips) else Strip.blank(width, self.inks.base)

    def on_resize(self) -> None:
        """The size has changed: paint everything."""
        self.redraw()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """The focus is visible: draw again (a handler of the event would still see the old state)."""
        super().watch_has_focus(_has_focus)
        self.redraw()

    def _paint_now(self, width: int, height: int) -> None:
        base = self.inks.base
        strips = self.paint(width, height)[:height]
        strips += [Strip.blank(width, base)] * (height - len(strips))
        self._strips, self._painted_for = strips, (width, height)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of consecutive ones: the first and the count of each."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


class Painted(Canvas):
    """A canvas that is given its painter: for single lines that need no class of their own."""

    def __init__(
        self,
        painter: Callable[[int, int], list[Strip]],
        *,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._painter = painter

    def paint(self, width: int, height: int) -> list[Strip]:
        """What the painter returns."""
        return self._painter(width, height)
