"""What keys act on may change by itself just before one is pressed: then that key does nothing.

A row is removed, or no longer passes the filter, and the cursor goes to the next one; a new event takes the cursor
with it. A key pressed at that moment was meant for what was there before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paneview.tui.tasks.actions import listed

if TYPE_CHECKING:
    from paneview.tui.screens.base import MainScreen

MOMENT = 0.7  # s that a person needs to see it


class Aim:
    """The tasks that a screen's keys act on."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen
        self._moved_at = float("-inf")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notice if what is done in the block, which no key has asked for, leads to other tasks."""
        before = self._tasks()
        yield
        if before[1] and before != self._tasks():
            self._moved_at = time.monotonic()

    def lost(self) -> bool:
        """Whether other tasks have just been selected: a toast says so, and nothing should be done."""
        if time.monotonic() - self._moved_at > MOMENT:
            return False
        names = listed(self._screen.targets()) or "nothing"
        self._screen.pv.tell(
            f"{names} has just been selected instead: nothing was done, press again if it is meant"
        )
        return True

    def _tasks(self) -> tuple[list[str], str]:
        return self._screen.targets(), self._screen.target()
