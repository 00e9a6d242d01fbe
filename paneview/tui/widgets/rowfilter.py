"""Filters of a table's rows: a regular expression, matched with every row while it is typed.

As long as it is invalid, it is taken literally. So is one that takes too long: the screen must not stall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from paneview.patterns import Pattern, PatternError, TooSlow, literal
from paneview.tui.text import clean

QUICK = 0.02  # seconds that one match on the screen's own loop may take
MOST = 0.1  # seconds that matching all rows may take
T = TypeVar("T")


class RowFilter:
    """A regular expression over the texts of a row; with ``inverts``, a ``!`` before it keeps what does not match."""

    def __init__(self, text: str = "", *, inverts: bool = True) -> None:
        self.text = text
        self._inverted = inverts and text.startswith("!")
        self._body = text[1:] if self._inverted else text
        self._too_slow = self._literal = False
        try:
            self._pattern = Pattern(self._body, ignore_case=True, limit=QUICK)
        except PatternError:
            self._take_literally()

    @property
    def told(self) -> str:
        """The filter as it is shown, with a note if it takes too long."""
        return clean(self.text) + (" (takes too long: taken literally)" if self._too_slow else "")

    def choose(self, rows: Iterable[T], texts: Callable[[T], Iterable[str]]) -> list[T]:
        """The rows to show; ``texts`` gives the texts of a row."""
        rows = list(rows)
        if not self._body:
            return rows
        try:
            return self._chosen(rows, texts)
        except PatternError:
            self._too_slow = True
            self._take_literally()
            return self._chosen(rows, texts)

    def _take_literally(self) -> None:
        self._literal, self._pattern = True, literal(self._body, ignore_case=True)

    def _chosen(self, rows: list[T], texts: Callable[[T], Iterable[str]]) -> list[T]:
        until, chosen = time.thread_time() + MOST, []
        for row in rows:
            if any(self._pattern.find(text) >= 0 for text in texts(row)) != self._inverted:
                chosen.append(row)
            if not self._literal and time.thread_time() > until:
                raise TooSlow
        return chosen
