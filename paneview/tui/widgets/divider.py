"""A line between two panes."""

from __future__ import annotations

from textual.strip import Strip

from paneview.tui.widgets.canvas import Canvas, line


class Divider(Canvas):
    """A vertical line between two panes."""

    def paint(self, width: int, height: int) -> list[Strip]:
        """The same line all the way down."""
        inks = self.inks
        return [line(width, inks.base, ("│", inks.rule))] * height
