"""How deeply the values of a TOML document are nested.

No key of ours lies deeper than five tables. A document that is nested hundreds deep, by a line that was pasted a
thousand times, would overflow the interpreter's stack in tomllib or in code that walks through the result.
"""

from __future__ import annotations

import re
from typing import Any

DEEPEST = 100
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""' r"|'''.*?'''" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|#[^\n]*|[\[\]{}.,=\n]",
    re.DOTALL,
)


def is_too_deep(data: dict[str, Any]) -> bool:
    """Whether something in `data` is nested more than `DEEPEST` deep."""
    level: list[Any] = [data]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def too_deep_at(text: str) -> int:
    """The offset where a bracket or a dotted key goes beyond `DEEPEST`; 0 if none does."""
    brackets = dots = 0
    for token in _TOKEN.finditer(text):
        letter = token[0]
        if letter in "[{":
            brackets += 1
        elif letter in "]}":
            brackets -= 1
        dots = dots + 1 if letter == "." else 0 if letter in ",=\n" else dots
        if brackets + dots > DEEPEST:
            return token.start()
    return 0
