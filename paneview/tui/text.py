"""Text from outside, made safe for one line of a terminal and measured in cells.

Names, reasons and commands are data: a control character in them must not reach the terminal, and a wide character
must not push the next column. Rich measures; plain ASCII (nearly everything) does not need it, so the command line,
which prints with these functions too, does not load Rich for it.
"""

from __future__ import annotations

import re

from paneview.text import escaped

ELLIPSIS = "…"
# C0 and C1 controls, what reorders text (bidirectional marks), line separators, halves of surrogate pairs.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SPACES = re.compile(r"[\t\r\n]+")


def clean(text: str) -> str:
    """The text as one line; what a terminal acts on is shown as an escape, as the command line shows it."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: escaped(found[0]), _SPACES.sub(" ", text))


def cells(text: str) -> int:
    """Width in terminal cells."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly ``width`` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    have = cells(text)
    if have > width:
        return _head(text, width - 1) + ELLIPSIS
    blank = " " * (width - have)
    return blank + text if right else text + blank


def fit_name(name: str, width: int) -> str:
    """Like `fit`, but what is cut out is before the end: names that begin alike, as replicas', differ there."""
    end = name[max(0, len(name) - max(0, width) // 3) :]
    if cells(name) <= width or not end.isascii():
        return fit(name, width)
    return fit(name, width - len(end)) + end


def cut(text: str, width: int) -> str:
    """The text in at most ``width`` cells."""
    return text if cells(text) <= width else fit(text, width)


def wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` cells, broken at spaces if possible."""
    width = max(1, width)  # a terminal may have a single column
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cells(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while cells(line) > width:
            head = _head(line, width)
            # At least one character, whatever it is: a wide one in a single column, spaces that never break.
            end = len(head.rstrip()) or max(1, len(head) - 1)
            lines.append(line[:end])
            line = line[end:]
    return [*lines, line]


def _head(text: str, width: int) -> str:
    """The first ``width`` cells of a longer text."""
    if text.isascii():
        return text[:width]
    from rich.cells import set_cell_size

    return set_cell_size(text, width)
