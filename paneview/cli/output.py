"""Printing for programs and for people.

Data never reaches the terminal raw: control characters in names, commands and messages are shown escaped. Tables fit
the terminal by cutting long texts a little, then by dropping their least important columns whole, rather than cutting
every column to an ellipsis. Colour only repeats what a glyph and a word say already.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TextIO

    from paneview.cli.parser import Call

RESET = "\x1b[0m"
LEAST = 8  # cells that a column keeps when it is cut
NARROW = 24  # cells to which a column is cut before others are dropped for it
COLOURS = {
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "red": "\x1b[31m",
    "green": "\x1b[32m",
    "yellow": "\x1b[33m",
    "blue": "\x1b[34m",
    "magenta": "\x1b[35m",
    "cyan": "\x1b[36m",
}
# The colours of the roles that states are shown in, as on the screen.
INKS = {"ok": "green", "attention": "yellow", "failed": "red", "dim": "dim"}


def print_json(value: Any) -> None:
    """One line of JSON."""
    import json  # noqa: PLC0415 - loaded already for the control socket, but not for usage errors

    sys.stdout.write(json.dumps(value) + "\n")


def print_result(text: bytes) -> None:
    """Print the JSON text of an object as a success, without parsing it."""
    sys.stdout.write('{"ok": true, ' + text[1:].decode("ascii") + "\n")


def complain(words: str) -> None:
    """Print what did not work to standard error, for people."""
    print(f"paneview: {clean(words)}", file=sys.stderr)


def again(call: Call, text: str) -> str:
    """The text, in which commands to type have the ``-c FILE`` that this one was given."""
    file = call.text("file")
    if not file:
        return text
    from shlex import quote  # noqa: PLC0415 - seldom needed, and slow to load

    from paneview.text import with_option  # noqa: PLC0415

    return with_option(text, f" -c {quote(file)}")


def clean(text: object) -> str:
    """`text` on one line, with control characters shown as escapes."""
    plain = str(text)
    if plain.isprintable():
        return plain
    from paneview.text import escaped  # noqa: PLC0415 - hardly ever needed, and this is on the fast path

    return escaped(plain)


def colourful(stream: TextIO | None = None) -> bool:
    """Whether colours may be written there: a terminal that knows them, and no NO_COLOR."""
    target = sys.stdout if stream is None else stream
    return target.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str | None, on: bool) -> str:
    """`text` in a colour of `COLOURS`, or as it is."""
    return f"{COLOURS[colour]}{text}{RESET}" if on and colour else text


def terminal_width() -> int:
    """Columns to fit into: $COLUMNS, the terminal's width, or 80.

    A pipe has no width, and nothing is dropped.
    """
    import shutil  # noqa: PLC0415

    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return 10_000
    return shutil.get_terminal_size((80, 24)).columns


def width(text: str) -> int:
    """Terminal cells that `text` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


class Column:
    """A column of a table.

    `right`: aligned to the right, as numbers are. `drop`: on a narrow terminal, columns with a higher one go first; 0
    stays. `flex`: it may be cut; to less than `NARROW` cells only when nothing is left to drop.
    """

    __slots__ = ("drop", "flex", "right", "title")

    def __init__(self, title: str, *, right: bool = False, drop: int = 0, flex: bool = False) -> None:
        self.title = title
        self.right = right
        self.drop = drop
        self.flex = flex


class Cell:
    """Text with a colour."""

    __slots__ = ("colour", "text")

    def __init__(self, text: object, colour: str | None = None) -> None:
        self.text = clean(text)
        self.colour = colour


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], limit: int, colour: bool) -> list[str]:
    """The lines of an aligned table that fits into `limit` cells, titles first."""
    widths = [
        max([width(column.title), *(width(row[index].text) for row in rows)])
        for index, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    needed = [
        min(room, NARROW) if column.flex else room for column, room in zip(columns, widths, strict=True)
    ]
    for index in sorted(shown, key=lambda index: -columns[index].drop):
        if columns[index].drop and _total(needed, shown) > limit:
            shown.remove(index)
    for least in (NARROW, LEAST):
        for index in shown:
            over = _total(widths, shown) - limit
            if over > 0 and columns[index].flex:
                widths[index] = min(widths[index], max(least, widths[index] - over))
    titles = [Cell(column.title, "bold") for column in columns]
    return [_row(columns, widths, shown, row, colour) for row in [titles, *rows]]


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table that fits the terminal."""
    print("\n".join(table(columns, rows, terminal_width(), colourful())))


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[index] for index in shown) + 2 * (len(shown) - 1)


def _row(
    columns: Sequence[Column], widths: Sequence[int], shown: Sequence[int], row: Sequence[Cell], colour: bool
) -> str:
    parts = []
    for index in shown:
        cell, room = row[index], widths[index]
        text = cut(cell.text, room)
        blank = " " * (room - width(text))
        if columns[index].right:
            parts.append(blank + paint(text, cell.colour, colour))
        else:
            parts.append(paint(text, cell.colour, colour) + ("" if index == shown[-1] else blank))
    return "  ".join(parts).rstrip()


def cut(text: str, room: int) -> str:
    """`text` in at most `room` cells, with an ellipsis where something is missing."""
    if width(text) <= room:
        return text
    kept, used = [], 0
    for letter in text:
        used += width(letter)
        if used > room - 1:
            break
        kept.append(letter)
    return "".join(kept) + "…"
