"""Raw log lines made presentable: what a terminal would have left visible on each line.

Stored lines are raw. Cleaning removes whatever could move the cursor, set a title, ring the bell or hide
text; `clean` keeps colours (SGR), `plain` keeps only text. A carriage return overwrites as on a terminal, so
only the last state of a progress bar remains. What a full-screen program draws between ``?1049h`` and
``?1049l`` is not log output and is left out.

Most lines contain no control byte and cost only the decoding and one check.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

# Escape sequences, complete or cut off by the end of the line. None of them crosses a newline.
_STRING = r"[P\]X^_][^\x07\x1b\n\x9c]*(?:\x07|\x1b\\|\x9c|(?=\x1b)|(?=\n)|\Z)"  # OSC, DCS, SOS, PM, APC
_CSI = r"\[[0-?]*[ -/]*(?:[@-~]|(?=[^ -~])|\Z)"
_ESCAPE = rf"\x1b(?:{_CSI}|{_STRING}|[ -/]+[0-~]?|[0-~]?)|\x9b[0-?]*[ -/]*[@-~]?"
_ALTERNATE = r"\x1b\[\?(?:1049|1047|47)h.*?(?:\x1b\[\?(?:1049|1047|47)l|\Z)"
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f-\x9f]"  # all but tab

_SGR = r"\x1b\[[0-9;:]{0,64}m"
_MOVE = r"\x1b\[[0-9]*[CDGKPX@]|[\r\x08]"

_ODD = re.compile(_CONTROL).search
_SCREEN = re.compile(_ALTERNATE, re.DOTALL)
_STRIP = re.compile(rf"(?:{_ESCAPE})|{_CONTROL}")
_STRIP_BUT_SGR = re.compile(rf"({_SGR})|(?:{_ESCAPE})|{_CONTROL}")
_STRIP_BUT_MOVES = re.compile(rf"({_SGR}|{_MOVE})|(?:{_ESCAPE})|{_CONTROL}")
_MOVES = re.compile(_MOVE).search
_TOKEN = re.compile(rf"({_SGR})|\x1b\[([0-9]*)([CDGKPX@])|([\r\x08\t])|([^\x1b\r\x08\t]+)")
_WIDEST = 4096  # columns a cursor can be sent to
_LONGEST_STYLE = 256  # characters of accumulated SGR sequences; older ones are dropped

Cell = tuple[str, str]  # a character, and the SGR sequences it was printed under


def clean(raw: bytes) -> str:
    """The visible text of a line with its colours."""
    text = raw.decode("utf-8", "replace")
    if text.isprintable():
        return text
    text = text.rstrip("\r\n")
    if not _ODD(text):
        return text
    text = _SCREEN.sub("", text)
    if _MOVES(text):
        return _with_colours(_redraw(_STRIP_BUT_MOVES.sub(r"\1", text)))
    return _STRIP_BUT_SGR.sub(r"\1", text)


def plain(raw: bytes) -> str:
    """The visible text of a line, without colours."""
    text = raw.decode("utf-8", "replace")
    if text.isprintable():
        return text
    text = text.rstrip("\r\n")
    if not _ODD(text):
        return text
    text = _SCREEN.sub("", text)
    if _MOVES(text):
        return "".join([char for char, _ in _redraw(_STRIP_BUT_MOVES.sub(r"\1", text))])
    return _STRIP.sub("", text)


def iso_time(ts: float) -> str:
    """A time (epoch seconds) as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _redraw(text: str) -> list[Cell]:
    """The cells of a line after all its cursor movements."""
    cells: list[Cell] = []
    at, style = 0, ""
    for sgr, count, move, control, run in _TOKEN.findall(text):
        if run:
            at = _write(cells, at, run, style)
        elif sgr:
            style = "" if sgr in ("\x1b[m", "\x1b[0m") else _under(style, sgr)
        elif control == "\r":
            at = 0
        elif control == "\b":
            at = max(at - 1, 0)
        elif control == "\t":
            at = _write(cells, at, " " * (8 - at % 8), style)
        else:
            at = _move(cells, at, move, int(count or "0"))
    return cells


def _under(style: str, sgr: str) -> str:
    """Add a sequence to the style, bounded in length for lines that never reset their colours."""
    style += sgr
    return style if len(style) <= _LONGEST_STYLE else style[style.index("\x1b", -_LONGEST_STYLE) :]


def _write(cells: list[Cell], at: int, run: str, style: str) -> int:
    if at > len(cells):
        cells.extend([(" ", "")] * (at - len(cells)))
    cells[at : at + len(run)] = [(char, style) for char in run]
    return at + len(run)


def _move(cells: list[Cell], at: int, move: str, count: int) -> int:
    """Carry out a CSI sequence and return the new column."""
    times = min(max(count, 1), _WIDEST)
    if move == "C":
        return at + times
    if move == "D":
        return max(at - times, 0)
    if move == "G":
        return times - 1
    if move == "K":
        _erase(cells, at, count)
    elif move == "P":
        del cells[at : at + times]
    elif move == "@":
        cells[at:at] = [(" ", "")] * times
    else:  # X
        cells[at : at + times] = [(" ", "")] * len(cells[at : at + times])
    return at


def _erase(cells: list[Cell], at: int, part: int) -> None:
    if part == 0:
        del cells[at:]
    elif part == 1:
        cells[: at + 1] = [(" ", "")] * min(at + 1, len(cells))
    else:
        cells.clear()


def _with_colours(cells: list[Cell]) -> str:
    parts: list[str] = []
    current = ""
    for char, style in cells:
        if style != current:
            parts.append("\x1b[0m" + style if current else style)
            current = style
        parts.append(char)
    if current:
        parts.append("\x1b[0m")
    return "".join(parts)
