"""Healthy once a line of the task's output matches: the probe that is fed instead of run."""

from __future__ import annotations

import re
from collections.abc import Iterable

from paneview.patterns import Pattern, PatternError

# Colours, cursor movements, titles: patterns are written for the text that people see.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
MAX_LINE = 64 * 1024  # characters of a line that are searched
LIMIT = 0.1  # seconds for one line
TRIES = 10  # lines of a run that may take longer; after that, no more are searched


class LogMatcher:
    """Searches the lines of one run; once matched, it stays so. Raises PatternError for a bad pattern.

    A line on which the pattern takes too long does not match.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = Pattern(pattern, limit=LIMIT, tries=TRIES)
        self.matched: str | None = None
        """The line that matched, without escape sequences."""
        self.trouble = ""
        """Why lines were skipped, if any were."""

    def feed(self, lines: Iterable[str | bytes]) -> bool:
        """Whether one of these or earlier lines matches. A line that is still being written may be fed again."""
        if self.matched is None:
            self.matched = next(filter(self._matches, map(_plain, lines)), None)
        return self.matched is not None

    def _matches(self, line: str) -> bool:
        try:
            return self._pattern.find(line) >= 0
        except PatternError as error:
            self.trouble = str(error)
            return False


def _plain(line: str | bytes) -> str:
    text = line[:MAX_LINE].decode("utf-8", "replace") if isinstance(line, bytes) else line[:MAX_LINE]
    return _ESCAPES.sub("", text).rstrip("\r\n") if "\x1b" in text else text.rstrip("\r\n")
