"""Key bindings: one line each, next to the action.

The hint is a word for the last line of the screen, ``about`` a few words for the help. The identifier's first part is
the group in the help; the whole identifier is the name by which a key map can rebind the action.
"""

from __future__ import annotations

from typing import Any

from textual.binding import Binding
from textual.screen import Screen

NAMES = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "ampersand": "&",
    "asterisk": "*",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "equals_sign": "=",
    "plus": "+",
    "minus": "-",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


# Every action that can be rebound: its default keys, and what it does. Filled as the screens are loaded.
ACTIONS: dict[str, tuple[str, str]] = {}


def key(ident: str, keys: str, action: str, hint: str, about: str = "", *, system: bool = False) -> Binding:
    """Bind ``keys`` (separated by commas) to an action. Without an identifier it is not shown in the help."""
    if ident:
        ACTIONS[ident] = (keys, about or hint)
    return Binding(keys, action, hint, id=ident or None, tooltip=about or hint, show=False, system=system)


def key_for(screen: Screen[Any], ident: str) -> str:
    """The key of this action on this screen, as it is shown to people; empty if it has none."""
    found = (active.binding for active in screen.active_bindings.values())
    return next((key_text(binding.key) for binding in found if binding.id == ident), "")


def key_text(name: str) -> str:
    """Textual's name for a key, as it is shown to people."""
    *modifiers, last = name.split("+")
    return "+".join([*modifiers, NAMES.get(last, last)])
