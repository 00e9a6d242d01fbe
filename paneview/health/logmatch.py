"""Healthy once a line of the task's output matches: the probe that is not asked but fed."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Colours, cursor movements, titles: a pattern is written against what a person reads.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
MAX_LINE = 64 * 1024  # characters of a line that are looked at


class LogMatcher:
    """Looks through the lines of one run; once it has matched it stays so. Raises re.error for a bad
    pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self.matched: str | None = None
        """The line that matched, without its escapes."""

    def feed(self, lines: Iterable[str | bytes]) -> bool:
        """Whether one of these lines, or an earlier one, matches. A line that is still being written may be
        fed again."""
        if self.matched is None:
            self.matched = next(filter(self._pattern.search, map(_plain, lines)), None)
        return self.matched is not None


def _plain(line: str | bytes) -> str:
    text = line[:MAX_LINE].decode("utf-8", "replace") if isinstance(line, bytes) else line[:MAX_LINE]
    return _ESCAPES.sub("", text).rstrip("\r\n") if "\x1b" in text else text.rstrip("\r\n")
