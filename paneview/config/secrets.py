"""Keeping secret values out of what people and programs are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

MASK = "********"
# A shorter value would be found in the middle of innocent words, and masking it would hide nothing.
SHORTEST_MASKED_IN_TEXT = 4
# Variables a person has in their environment were not named with this project in mind: MONKEY=true is no secret.
SHORTEST_INHERITED = 8


def is_secret(name: str, patterns: Iterable[str]) -> bool:
    """Whether the variable `name` matches one of `patterns`, in upper or lower case."""
    return any(fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns)


def secret_values(
    own: Iterable[Mapping[str, str]], inherited: Mapping[str, str], patterns: Iterable[str]
) -> frozenset[str]:
    """The values of all secret variables that are long enough to be masked in text.

    `own` are environments that the configuration sets; `inherited` is what paneview was started with.
    """
    wanted = tuple(patterns)
    return frozenset(
        value
        for environment, shortest in [
            *((env, SHORTEST_MASKED_IN_TEXT) for env in own),
            (inherited, SHORTEST_INHERITED),
        ]
        for name, value in environment.items()
        if len(value) >= shortest and is_secret(name, wanted)
    )


def _forms(value: str) -> list[str]:
    """A value as text may show it: whole, or line by line, as logs do. A key's BEGIN and END lines are no secret."""
    lines = [line.strip() for line in value.splitlines()] if "\n" in value else []
    return [
        value,
        *(line for line in lines if len(line) >= SHORTEST_INHERITED and not line.startswith("-----")),
    ]


class Masker:
    """Replaces secret values in text, in JSON and in environments."""

    def __init__(self, patterns: Iterable[str], values: Iterable[str]) -> None:
        self.follow(patterns, values)

    def follow(self, patterns: Iterable[str], values: Iterable[str]) -> None:
        """Mask these from now on, and no others."""
        self._patterns = tuple(patterns)
        longest_first = sorted({form for value in values for form in _forms(value)}, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """`text` with each secret value masked."""
        return self._values.sub(MASK, text) if self._values and text else text

    def json(self, value: Any) -> Any:
        """A JSON value with all its strings masked, at any depth, keys of objects included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.json(key): self.json(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.json(inner) for inner in value]
        return value

    def values(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The same for an object of ours, except that its own keys stay, as they are documented."""
        return {key: self.json(value) for key, value in fields.items()}

    def env(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env` with the values of secret names masked, and secret values in the others."""
        return {
            name: MASK if is_secret(name, self._patterns) else self.text(value) for name, value in env.items()
        }
