"""What is typed into the ask prompt: ``@`` and what it can be completed to, and for whom the whole is. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from paneview.control.queuemodel import QueueView

SHOWN = 40  # completions that are looked for
_TOKEN = re.compile(r'(?:^|(?<=[\s(,;:]))@(?:"([^"]*)|([^\s"]*))$')
_TARGET = re.compile(r"\s*@(\S+)\s+(?=\S)")


class Token(NamedTuple):
    """An ``@…`` before the cursor: its column in the line, what follows the sign, whether it begins the whole text."""

    column: int
    typed: str
    first: bool


class Asked(NamedTuple):
    """What is meant: ``target`` is a worker, or empty for a workflow."""

    target: str
    text: str


def token(line: str, *, first_line: bool) -> Token | None:
    """The ``@…`` that ends here, in the line up to the cursor."""
    found = _TOKEN.search(line)
    if found is None:
        return None
    typed = found[1] if found[1] is not None else found[2]
    return Token(found.start(), typed, first_line and not line[: found.start()].strip())


def read(text: str, targets: Collection[str]) -> Asked:
    """For whom it is: ``@worker …`` is for that worker, if there is one of this name; all else is for a workflow."""
    found = _TARGET.match(text)
    if found and found[1] in targets:
        return Asked(found[1], text[found.end() :].strip())
    return Asked("", text.strip())


def workers(queue: QueueView | None) -> list[str]:
    """Who can be asked by ``@``: workers that are alive, by name, then roles."""
    alive = [one for one in queue.workers if one.alive] if queue is not None else []
    names = sorted({one.name for one in alive})
    return [*names, *sorted({f"role:{role}" for one in alive for role in one.roles})]


def matches(typed: str, names: Iterable[str]) -> list[str]:
    """What it can be completed to: names that begin so, then those whose last part does, then those that hold it.

    Parts between slashes need not be whole: ``sr/ca`` is found in ``src/shop/cart.py``.
    """
    wanted = typed.lower()
    parts = wanted.split("/")
    tiers: tuple[list[str], ...] = ([], [], [])
    for name in names:
        lower = name.lower()
        if lower.startswith(wanted):
            tiers[0].append(name)
        elif lower.rstrip("/").rpartition("/")[2].startswith(wanted):
            tiers[1].append(name)
        elif _holds(lower, parts):
            tiers[2].append(name)
    return [name for tier in tiers for name in sorted(tier, key=_nearness)][:SHOWN]


def offered(at: Token, targets: Sequence[str], files: Sequence[str]) -> list[str]:
    """What this token can be completed to; workers only at the beginning."""
    found = matches(at.typed, targets) if at.first else []
    return [*found, *matches(at.typed, files)][:SHOWN]


def completed(name: str) -> str:
    """How a name is written into the text. A folder is left open for what is in it."""
    quoted = f'@"{name}"' if re.search(r"\s", name) else f"@{name}"
    return quoted if name.endswith("/") else f"{quoted} "


def _holds(name: str, parts: Sequence[str]) -> bool:
    """Whether the parts are in it, one behind the other."""
    at = 0
    for part in parts:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def _nearness(name: str) -> tuple[int, str]:
    return name.rstrip("/").count("/"), name
