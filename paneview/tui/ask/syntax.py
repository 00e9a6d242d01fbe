"""The syntax of the ask prompt: ``@`` and its completions, and whom the text is for. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from paneview.control.queuemodel import QueueView

SHOWN = 40  # most completions of a token
_TOKEN = re.compile(r'(?:^|(?<=[\s(,;:]))@(?:"([^"]*)|([^\s"]*))$')
_TARGET = re.compile(r"\s*@(\S+)\s+(?=\S)")


class Token(NamedTuple):
    """An ``@…`` before the cursor: its column in the line, what follows the sign, whether it begins the whole text."""

    column: int
    typed: str
    first: bool


class Asked(NamedTuple):
    """What is asked of whom: ``target`` is a worker or role, or empty for a workflow."""

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
    """Whom the text is for: ``@worker …`` for that worker, if it is among ``targets``; else for a workflow."""
    found = _TARGET.match(text)
    if found and found[1] in targets:
        return Asked(found[1], text[found.end() :].strip())
    return Asked("", text.strip())


def workers(queue: QueueView | None) -> list[str]:
    """The targets of ``@``: live workers by name, then their roles."""
    alive = [one for one in queue.workers if one.alive] if queue is not None else []
    names = sorted({one.name for one in alive})
    return [*names, *sorted({f"role:{role}" for one in alive for role in one.roles})]


def matches(typed: str, names: Iterable[str]) -> list[str]:
    """The completions: names that begin with ``typed``, then those whose last part does, then those that contain it.

    Parts between slashes may be abbreviated: ``sr/ca`` finds ``src/shop/cart.py``.
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
    """What this token can be completed to; targets only at the beginning of the text."""
    found = matches(at.typed, targets) if at.first else []
    return [*found, *matches(at.typed, files)][:SHOWN]


def completed(name: str) -> str:
    """The name as it is inserted. A folder gets no space after it, so that completion can go on inside it."""
    quoted = f'@"{name}"' if re.search(r"\s", name) else f"@{name}"
    return quoted if name.endswith("/") else f"{quoted} "


def _holds(name: str, parts: Sequence[str]) -> bool:
    """Whether the name contains the parts, in this order."""
    at = 0
    for part in parts:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def _nearness(name: str) -> tuple[int, str]:
    return name.rstrip("/").count("/"), name
