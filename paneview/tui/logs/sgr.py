"""Turns the colour escapes (SGR) of a task's output into Rich styles.

The store returns lines with SGR only; this module relies on that for speed but not for safety, and drops anything
else that a terminal would act on once more. Styles are cached by state, so a line costs one split by a regular
expression and one dictionary look-up per colour change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from rich.color import Color
from rich.style import Style

# A longer line is cut for display: nobody scrolls there, and copying still gives all of it.
LONGEST = 8192
DIGITS = 9  # of a code that are read: no known code has more, and Python refuses thousands of them

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_UNSAFE = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

Ink = int | tuple[int, int, int] | None


class State(NamedTuple):
    """What SGR has set so far."""

    foreground: Ink = None
    background: Ink = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    reverse: bool = False
    strike: bool = False


RESET = State()
_ON = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse", 9: "strike", 21: "underline"}
_OFF = {
    22: ("bold", "dim"),
    23: ("italic",),
    24: ("underline",),
    27: ("reverse",),
    29: ("strike",),
}


def parse(text: str) -> tuple[str, list[tuple[int, State]]]:
    """The plain text of a line, and the positions at which states begin (empty if it has no colour)."""
    if "\t" in text:
        text = _expand(text)
    if "\x1b" not in text:
        return _safe(text), []
    parts = _SGR.split(text)
    plain = _safe(_SEQUENCE.sub("", parts[0]))
    marks: list[tuple[int, State]] = []
    state = RESET
    for at in range(1, len(parts), 2):
        state = advance(state, parts[at])
        if part := _safe(_SEQUENCE.sub("", parts[at + 1])):
            if state != (marks[-1][1] if marks else RESET):
                marks.append((len(plain), state))
            plain += part
    return plain, marks


def plain(text: str) -> str:
    """The text without its colours."""
    return parse(text)[0]


def spans(text: str, marks: list[tuple[int, State]], base: Style) -> Iterator[tuple[int, int, Style]]:
    """(start, end, style) of each stretch of one style."""
    start, style = 0, base
    for at, state in marks:
        if at > start:
            yield start, at, style
        start, style = at, style_of(state, base)
    if start < len(text):
        yield start, len(text), style


@lru_cache(4096)
def style_of(state: State, base: Style) -> Style:
    """The state as a style over ``base``."""
    return base + Style(
        color=_color(state.foreground),
        bgcolor=_color(state.background),
        bold=state.bold or None,
        dim=state.dim or None,
        italic=state.italic or None,
        underline=state.underline or None,
        reverse=state.reverse or None,
        strike=state.strike or None,
    )


@lru_cache(4096)
def advance(state: State, parameters: str) -> State:
    """The state after ``ESC [ parameters m``; what is unknown changes nothing."""
    given = parameters.replace(":2::", ":2:").replace(":", ";").split(";")
    codes = iter([int(code[:DIGITS] or 0) for code in given])
    for code in codes:
        if code == 0:
            state = RESET
        elif code in _ON:
            state = state._replace(**{_ON[code]: True})
        elif code in _OFF:
            state = state._replace(**dict.fromkeys(_OFF[code], False))
        elif 30 <= code <= 49 or 90 <= code <= 107:
            state = _coloured(state, code, codes)
    return state


def _coloured(state: State, code: int, codes: Iterator[int]) -> State:
    """One of the colour codes, the extended ones with what follows them."""
    if code in (38, 48):
        ink = _extended(codes)
        if ink is None:
            return state
    elif code in (39, 49):
        ink = None
    else:
        ink = code % 10 + (8 if code >= 90 else 0)
    is_background = 40 <= code <= 49 or code >= 100
    return state._replace(background=ink) if is_background else state._replace(foreground=ink)


def _extended(codes: Iterator[int]) -> Ink:
    kind = next(codes, 0)
    if kind == 5:
        return next(codes, 0) & 255
    if kind == 2:
        red, green, blue = (next(codes, 0) & 255 for _ in range(3))
        return red, green, blue
    return None


def _color(ink: Ink) -> Color | None:
    if ink is None:
        return None
    return Color.from_ansi(ink) if isinstance(ink, int) else Color.from_rgb(*ink)


def _safe(text: str) -> str:
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub("", text)


def _expand(text: str) -> str:
    """Tabs to spaces, by visible column: an escape takes no room."""
    if "\x1b" not in text:
        return text.expandtabs(8)
    out: list[str] = []
    column = 0
    for piece in re.split(r"(\t|\x1b\[[0-9;:]*m)", text):
        if piece == "\t":
            piece = " " * (8 - column % 8)  # noqa: PLW2901 - what the tab shows as
            column = 0
        elif not piece.startswith("\x1b"):
            column += len(piece)
        out.append(piece)
    return "".join(out)
