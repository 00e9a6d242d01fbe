"""The Lua scripts: each is a file after the common one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"
_READERS = ("stats", "workers")
# A server that is out of memory, or cannot save, refuses commands that add and takes those that remove. So the first
# command of a script that writes is one that adds: it fails before anything is done, never half way.
_PROBE = "redis.call('SET', B .. 'probe', '')\n"


@dataclass(frozen=True)
class Script:
    """A script's text and the hash by which the server knows it."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script of this name."""
    common, own = ((_FOLDER / f"{part}.lua").read_text() for part in ("common", name))
    text = f"{common}{'' if name in _READERS else _PROBE}{own}"
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
