"""Columns of a table: which of them fit, and the line that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.style import Style

from paneview.tui.text import fit
from paneview.tui.widgets.canvas import Piece

PREFIX = 2
ALWAYS = 9


class Column(NamedTuple):
    """A column; one of width 0 takes the room that is left. The smallest ``keep`` is dropped first, 9 never."""

    key: str
    title: str
    width: int
    keep: int = ALWAYS
    right: bool = False


def fitting(columns: Sequence[Column], width: int, least: int) -> list[Column]:
    """The columns that fit into ``width`` cells, the flexible one with its width: at least ``least`` if possible."""
    shown = list(columns)

    def left() -> int:
        return width - PREFIX - sum(column.width + 1 for column in shown) + 1

    while left() < least and any(column.keep < ALWAYS for column in shown):
        shown.remove(min(shown, key=lambda column: column.keep))
    room = max(0, left())
    return [column._replace(width=room) if not column.width else column for column in shown]


def titles(columns: Sequence[Column], ink: Style) -> list[Piece]:
    """The heading of the table."""
    return [(" " * PREFIX, ink), *row(columns, lambda column: (column.title, ink))]


def row(columns: Sequence[Column], cell: Callable[[Column], Piece]) -> list[Piece]:
    """One line; ``cell`` gives a column's text, which must be clean, and its style."""
    pieces: list[Piece] = []
    for at, column in enumerate(columns):
        text, ink = cell(column)
        pieces.append((" " * (at > 0) + fit(text, column.width, right=column.right), ink))
    return pieces
