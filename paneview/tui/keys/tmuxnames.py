"""Keys by their tmux names, for what is typed on the screen and sent to a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

LEAVES = "ctrl+right_square_bracket"
_NAMES = {
    "enter": "Enter",
    "tab": "Tab",
    "shift+tab": "BTab",
    "backspace": "BSpace",
    "escape": "Escape",
    "space": "Space",
    "delete": "DC",
    "insert": "IC",
    "home": "Home",
    "end": "End",
    "pageup": "PPage",
    "pagedown": "NPage",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "ctrl+backslash": "C-\\",
    "ctrl+underscore": "C-_",
    "ctrl+circumflex_accent": "C-^",
    "ctrl+at": "C-@",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}
_MODIFIERS = {"ctrl": "C-", "shift": "S-", "alt": "M-"}


class Stroke(NamedTuple):
    """One key: a character as it is (``literal``), or tmux's name for it."""

    text: str
    literal: bool


def stroke(key: str, character: str | None) -> Stroke | None:
    """The key of Textual's event as tmux takes it; None for one that no terminal can send."""
    if character is not None and len(character) == 1 and character.isprintable():
        return Stroke(character, True)
    if key in _NAMES:
        return Stroke(_NAMES[key], False)
    *modifiers, last = key.split("+")
    if any(name not in _MODIFIERS for name in modifiers):
        return None
    base = _NAMES.get(last) or (last if len(last) == 1 else None)
    if base is None:
        return None
    return Stroke("".join(_MODIFIERS[name] for name in modifiers) + base, False)


def requests(strokes: Iterable[Stroke]) -> Iterator[dict[str, Any]]:
    """The arguments of ``send_keys`` requests, in order; consecutive characters are sent together."""
    for literal, group in groupby(strokes, key=lambda one: one.literal):
        keys = [one.text for one in group]
        yield {"keys": ["".join(keys)] if literal else keys, "literal": literal}
