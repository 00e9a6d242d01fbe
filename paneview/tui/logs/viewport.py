"""A window's position in a log: pure arithmetic on absolute line numbers.

A position is a line's number and a row within that line (a long line may wrap, the first line of a run has a rule above
it). Numbers never change when old lines are deleted or new ones come, so a window that is not moved stays put, however
fast the log grows. Only the lines passed over are measured; the rest of ten million is never touched.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Pos(NamedTuple):
    """A row of a line."""

    line: int
    row: int = 0


class Source(Protocol):
    """The lines that can be shown, in order."""

    @property
    def first(self) -> int:
        """The first line's number."""

    @property
    def last(self) -> int:
        """The last line's number; below `first` if there is none."""

    def after(self, line: int) -> int | None:
        """The next line to show, if any."""

    def before(self, line: int) -> int | None:
        """The previous line to show, if any."""

    def part(self, line: int) -> float:
        """How far down this line is, 0 to 1."""

    def at(self, part: float) -> int:
        """The line that is this far down, 0 to 1."""

    def size(self) -> int:
        """How many lines there are."""

    def between(self, first: int, last: int) -> Sequence[int]:
        """The lines from ``first`` to ``last``, both included."""


class Whole(NamedTuple):
    """Every line from ``start`` up to, not including, ``end``."""

    start: int
    end: int

    @property
    def first(self) -> int:
        """The first line's number."""
        return self.start

    @property
    def last(self) -> int:
        """The last line's number."""
        return self.end - 1

    def after(self, line: int) -> int | None:
        """The next line."""
        return max(line + 1, self.start) if line + 1 < self.end else None

    def before(self, line: int) -> int | None:
        """The previous line."""
        return min(line, self.end) - 1 if line > self.start else None

    def part(self, line: int) -> float:
        """How far down this line is."""
        return (line - self.start) / max(1, self.end - self.start)

    def at(self, part: float) -> int:
        """The line that is this far down, 0 to 1."""
        return self.start + int(part * max(0, self.end - 1 - self.start))

    def size(self) -> int:
        """How many lines there are."""
        return max(0, self.end - self.start)

    def between(self, first: int, last: int) -> Sequence[int]:
        """The lines from ``first`` to ``last``."""
        return range(max(first, self.start), min(last + 1, self.end))


class Hits:
    """Only some lines: those that a filter has found so far, oldest first."""

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        self.numbers = list(numbers)

    @property
    def first(self) -> int:
        """The oldest hit."""
        return self.numbers[0] if self.numbers else 0

    @property
    def last(self) -> int:
        """The newest hit."""
        return self.numbers[-1] if self.numbers else -1

    def after(self, line: int) -> int | None:
        """The next hit."""
        at = bisect_right(self.numbers, line)
        return self.numbers[at] if at < len(self.numbers) else None

    def before(self, line: int) -> int | None:
        """The previous hit."""
        at = bisect_left(self.numbers, line)
        return self.numbers[at - 1] if at else None

    def part(self, line: int) -> float:
        """How far down this line is among the hits."""
        return bisect_left(self.numbers, line) / max(1, len(self.numbers))

    def at(self, part: float) -> int:
        """The hit that is this far down, 0 to 1."""
        return self.numbers[int(part * (len(self.numbers) - 1))] if self.numbers else 0

    def size(self) -> int:
        """How many hits there are so far."""
        return len(self.numbers)

    def between(self, first: int, last: int) -> Sequence[int]:
        """The hits from ``first`` to ``last``."""
        return self.numbers[bisect_left(self.numbers, first) : bisect_right(self.numbers, last)]


Height = Callable[[int], int]


def down(pos: Pos, rows: int, source: Source, height: Height) -> Pos:
    """The position ``rows`` further down, but not beyond the last row."""
    line, row = pos.line, pos.row + rows
    while row >= (tall := height(line)):
        following = source.after(line)
        if following is None:
            return Pos(line, tall - 1)
        line, row = following, row - tall
    return Pos(line, row)


def up(pos: Pos, rows: int, source: Source, height: Height) -> Pos:
    """The position ``rows`` further up, but not beyond the first row."""
    line, row = pos.line, pos.row - rows
    while row < 0:
        previous = source.before(line)
        if previous is None:
            return Pos(line, 0)
        line, row = previous, row + height(previous)
    return Pos(line, row)


def last_page(rows: int, source: Source, height: Height) -> Pos:
    """The position whose window of ``rows`` ends with the last row."""
    if source.last < source.first:
        return Pos(source.first)
    end = Pos(source.last, height(source.last) - 1)
    return up(end, rows - 1, source, height)
