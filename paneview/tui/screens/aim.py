"""What keys act on may change by itself just before one is pressed: then that key does nothing.

A row is removed, or no longer passes the filter, and the cursor goes to the next one; a new event takes the cursor
with it. A key pressed at that moment was meant for what was there before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paneview.tui.words import listed

if TYPE_CHECKING:
    from paneview.tui.screens.base import MainScreen

MOMENT = 0.7  # s that a person needs to see it


class Aim:
    """What a screen's keys act on: its tasks and, if ``more`` is given, what that returns."""

    def __init__(self, screen: MainScreen, more: Callable[[], str] = str) -> None:
        self._screen = screen
        self._more = more
        self._moved_at = float("-inf")
        self._led_to: tuple[object, ...] = ()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notice if what is done in the block, which no key has asked for, leads to something else."""
        before = self._aimed_at()
        yield
        after = self._aimed_at()
        if any(was and now and was != now for was, now in zip(before, after, strict=True)):
            self._moved_at, self._led_to = time.monotonic(), after

    def lost(self) -> bool:
        """Whether something else has just been selected: a toast says so, and nothing should be done."""
        if time.monotonic() - self._moved_at > MOMENT or self._aimed_at() != self._led_to:
            return False  # it is long ago, or the person has selected something since
        names = listed(self._screen.targets()) or "another one"
        self._screen.pv.tell(
            f"{names} has just been selected instead: nothing was done, press again if it is meant"
        )
        return True

    def _aimed_at(self) -> tuple[object, ...]:
        return self._screen.targets(), self._screen.target(), self._more()
