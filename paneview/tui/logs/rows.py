"""The rows that show one log line: time, colours, matches, wrapping."""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from paneview.control.model import LineView
from paneview.patterns import Pattern, PatternError
from paneview.tui import words
from paneview.tui.logs import sgr
from paneview.tui.logs.feed import RunMark
from paneview.tui.text import cells, clean, fit_name
from paneview.tui.theme import Inks
from paneview.tui.widgets.canvas import Piece, line, spread

MOST_LABEL = 14
STAMPS = ("off", "since start", "clock")
_STAMP_WIDTHS = {"off": 0, "since start": 10, "clock": 14}


class Shape(NamedTuple):
    """How lines are shown. A change to any of these makes every composed line stale."""

    width: int
    wrap: bool
    stamps: str
    pattern: Pattern | None
    inks: Inks
    tasks: tuple[str, ...] = ()
    """The tasks of a merged log, else empty."""

    @property
    def label_width(self) -> int:
        """Cells that the task's name takes in a merged log."""
        return min(MOST_LABEL, max((cells(clean(name)) for name in self.tasks), default=-1)) + 1

    @property
    def stamp_width(self) -> int:
        """Cells that time and name take; the time is left out if there is no room."""
        width = _STAMP_WIDTHS[self.stamps]
        return (width if self.width >= 3 * width else 0) + self.label_width

    @property
    def body_width(self) -> int:
        """Cells left for the text."""
        return max(1, self.width - self.stamp_width)


class Composed(NamedTuple):
    """A line's rows; ``rule`` is the row above it if a run begins here."""

    source: LineView
    rule: Strip | None
    stamp: Strip | None
    rows: tuple[Strip, ...]

    @property
    def height(self) -> int:
        """Rows in all."""
        return len(self.rows) + (self.rule is not None)


def compose(
    log_line: LineView, shape: Shape, run: RunMark | None, rule: Strip | None, current: bool
) -> Composed:
    """The rows of one line. ``current``: it has the match that the search is at."""
    text = log_line.text[: 4 * sgr.LONGEST]
    plain, marks = sgr.parse(text)
    if len(plain) > sgr.LONGEST:
        plain = plain[: sgr.LONGEST] + " …"
    base = shape.inks.base
    spans = list(sgr.spans(plain, marks, base))
    if shape.pattern is not None:
        ink = shape.inks.match_now if current else shape.inks.match
        spans = _highlight(spans, plain, shape.pattern, ink)
    if shape.wrap:
        pieces = chop_cells(plain, shape.body_width) if plain else [""]
        rows, at = [], 0
        for piece in pieces:
            rows.append(_strip(plain, spans, at, at + len(piece)))
            at += len(piece)
    else:
        rows = [_strip(plain, spans, 0, len(plain))]
    return Composed(log_line, rule, _stamp(log_line, shape, run), tuple(rows))


def run_rule(mark: RunMark, before: RunMark | None, shape: Shape) -> Strip:
    """The line above the first line of a run: which run, when, and how the one before it ended."""
    inks = shape.inks
    pieces: list[Piece] = [("── ", inks.rule), (f"run {mark.run}", inks.dim)]
    if mark.started_at:
        pieces.append((f" · {words.clock(mark.started_at)}", inks.dim))
    if before is not None and before.exit_code is not None:
        pieces.append((f" · run {before.run} ended with {before.exit_code}", inks.dim))
    return spread(shape.width, inks.base, [*pieces, (" ", inks.rule)], [], ("─", inks.rule))


def end_rule(mark: RunMark, shape: Shape) -> Strip:
    """The line below the last line of a run that has ended."""
    inks = shape.inks
    ended = f" at {words.clock(mark.ended_at)}" if mark.ended_at else ""
    took = (
        f" after {words.duration(mark.ended_at - mark.started_at)}"
        if mark.ended_at and mark.started_at
        else ""
    )
    how = "ended" if mark.exit_code is None else f"ended with {mark.exit_code}"
    ink = inks.dim if mark.exit_code in (0, None) else inks.failed
    pieces: list[Piece] = [("── ", inks.rule), (f"run {mark.run} {how}", ink), (f"{ended}{took} ", inks.dim)]
    return spread(shape.width, inks.base, pieces, [], ("─", inks.rule))


def _stamp(log_line: LineView, shape: Shape, run: RunMark | None) -> Strip | None:
    if not shape.stamp_width:
        return None
    width = shape.stamp_width - shape.label_width
    label: list[Piece] = []
    if shape.tasks:
        inks = (shape.inks.accent, shape.inks.ok, shape.inks.mark, shape.inks.attention)
        place = shape.tasks.index(log_line.task) if log_line.task in shape.tasks else 0
        name = fit_name(clean(log_line.task), shape.label_width - 1)
        label = [(f"{name} ", inks[place % len(inks)])]
    if not width:
        return line(shape.label_width, shape.inks.base, *label)
    if shape.stamps == "clock":
        text = words.clock(log_line.ts, parts=True)
    elif run is not None and run.started_at is not None:
        text = _since(max(0.0, log_line.ts - run.started_at))
    else:
        text = ""
    mark = "~" if log_line.approx else " "
    stamp = (f"{mark}{text:>{width - 2}} ", shape.inks.dim)
    return line(shape.stamp_width, shape.inks.base, *label, stamp)


def _since(seconds: float) -> str:
    return f"+{seconds:.2f}s" if seconds < 1000 else f"+{words.duration(seconds)}"


def _strip(plain: str, spans: list[tuple[int, int, Style]], start: int, end: int) -> Strip:
    segments = [
        Segment(plain[max(low, start) : min(high, end)], style)
        for low, high, style in spans
        if low < end and high > start
    ]
    return Strip(segments, end - start if plain.isascii() else None)


def _highlight(
    spans: list[tuple[int, int, Style]], plain: str, pattern: Pattern, ink: Style
) -> list[tuple[int, int, Style]]:
    """The spans with every match in ``ink``; unchanged if finding the matches takes too long."""
    out: list[tuple[int, int, Style]] = []
    try:
        found = [(start, end) for start, end in pattern.spans(plain) if end > start]
    except PatternError:
        return spans
    if not found:
        return spans
    for low, high, style in spans:
        at = low
        for start, end in found:
            if end <= at or start >= high:
                continue
            if start > at:
                out.append((at, start, style))
            stop = min(end, high)
            out.append((max(start, at), stop, style + ink))
            at = stop
        if at < high:
            out.append((at, high, style))
    return out
