"""The rows of a window on a log, made from the fetched lines, and cached."""

from __future__ import annotations

from rich.segment import Segment
from textual.cache import FIFOCache  # its LRUCache never replaces the value of a key
from textual.strip import Strip

from paneview.tui.logs.rows import Composed, Shape, compose, end_rule, run_rule
from paneview.tui.logs.state import LogState
from paneview.tui.logs.viewport import Pos
from paneview.tui.widgets.canvas import line

KEPT_STRIPS = 1500


class LogPage:
    """Composes lines of one log in one shape; `rows` gives what a window shows."""

    def __init__(self, state: LogState, shape: Shape) -> None:
        self.state = state
        self.shape = shape
        self._composed: FIFOCache[int, Composed] = FIFOCache(KEPT_STRIPS)
        self._made_for: tuple[object, int | None] = (None, None)
        self._blank = line(shape.width, shape.inks.base, ("·", shape.inks.rule))

    def height(self, number: int) -> int:
        """The number of rows of this line, 1 while it is not here."""
        composed = self._line(number)
        return composed.height if composed else 1

    def rows(self, top: Pos, count: int) -> tuple[list[Strip], list[int]]:
        """At most ``count`` rows from ``top`` on, and the line that each belongs to."""
        # What a line's rows depend on as well as its text: where runs begin, and the search's current match.
        now = (self.state.feed.runs, self.state.search.at if self.state.search else None)
        if now[0] is not self._made_for[0] or now[1] != self._made_for[1]:
            self._composed.clear()
            self._made_for = now
        strips: list[Strip] = []
        numbers: list[int] = []
        source = self.state.source
        number: int | None = (
            top.line if source.first <= top.line <= source.last else source.after(top.line - 1)
        )
        skip = top.row
        while number is not None and len(strips) < count:
            some = self._strips(number)[skip:]
            strips += some
            numbers += [number] * len(some)
            number, skip = source.after(number), 0
        return strips[:count], numbers[:count]

    def epilogue(self) -> Strip | None:
        """The row after the last line, if the newest run has ended."""
        runs = self.state.feed.runs
        if self.state.filter is not None or not runs or runs[-1].ended_at is None:
            return None
        return end_rule(runs[-1], self.shape)

    def _strips(self, number: int) -> list[Strip]:
        composed = self._line(number)
        if composed is None:
            return [self._blank]
        shape, base = self.shape, self.shape.inks.base
        strips = [] if composed.rule is None else [composed.rule]
        for at, body in enumerate(composed.rows):
            column = 0 if shape.wrap else self.state.column
            shown = body.crop_extend(column, column + shape.body_width, base)
            if composed.stamp is not None:
                stamp = composed.stamp if at == 0 else Strip.blank(composed.stamp.cell_length, base)
                shown = Strip.join([stamp, shown])
            strips.append(self._selected(shown, number))
        return strips

    def _selected(self, strip: Strip, number: int) -> Strip:
        chosen = self.state.selection()
        if chosen is None or not chosen[0] <= number <= chosen[1]:
            return strip
        select = self.shape.inks.select
        # A match keeps its own background: on the selection's it would be unreadable.
        matches = (self.shape.inks.match.bgcolor, self.shape.inks.match_now.bgcolor)
        marked = [
            Segment(
                text,
                style if style and style.bgcolor and style.bgcolor in matches else (style or select) + select,
            )
            for text, style, _ in strip
        ]
        return Strip(marked, strip.cell_length)

    def _line(self, number: int) -> Composed | None:
        feed = self.state.feed
        source = feed.line(number)
        if source is None:
            return None
        composed = self._composed.get(number)
        if composed is None or composed.source is not source:
            run = feed.run_at(number)
            rule = None
            if run is not None and run.first == number and self.state.filter is None:
                at = feed.runs.index(run)
                rule = run_rule(run, feed.runs[at - 1] if at else None, self.shape)
            search = self.state.search
            current = search is not None and search.at == number
            composed = self._composed[number] = compose(source, self.shape, run, rule, current)
        return composed
