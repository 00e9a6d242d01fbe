"""The Lua scripts: each is built from the common files, followed by its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"
_READERS = ("flags", "stats", "workers")
# These check for room on their own: they write nothing, or make an adding write first, see `check_room`.
_CAREFUL = (*_READERS, "claim", "finish", "renew", "submit", "take")
_PARTS = {
    "claim": ("claiming",),
    "finish": ("claiming", "inserting"),
    "reap": ("claiming",),
    "submit": ("inserting",),
    "take": ("claiming",),
}


@dataclass(frozen=True)
class Script:
    """A script's text, and the hash by which the server knows it."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script of this name."""
    parts = ("common", "endings", *_PARTS.get(name, ()), name)
    *common, own = ((_FOLDER / f"{part}.lua").read_text() for part in parts)
    before = "" if name in _CAREFUL else "check_room()\n"
    act = f"local function act()\n{own}end\nlocal answer = act()\nwrite_down()\nreturn answer\n"
    text = f"{''.join(common)}{before}{act}"
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
