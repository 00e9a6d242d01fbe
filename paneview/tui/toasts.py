"""Toasts that do not pile up, and whose remaining time is never negative.

Textual sets a toast's timer to its remaining time, which is slightly negative if it runs out between the check and the
next line. In Textual 8.2 a timer with a negative interval never ends, and the event loop hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from textual.notifications import Notification, Notifications

LEAST = 0.01  # s
MOST = 4  # at once
LINES = 6  # of the terminal for each


class Few(Notifications):
    """So many toasts as there is room for: the oldest give way, and the same text is there once."""

    def __init__(self, height: Callable[[], int]) -> None:
        super().__init__()
        self._height = height

    def add(self, notification: Notification) -> Few:
        """Add one, and drop what it takes the place of."""
        for same in [old for old in self if old.message == notification.message]:
            del self[same]
        super().add(notification)
        for old in list(self)[: -max(1, min(MOST, self._height() // LINES))]:
            del self[old]
        return self


@dataclass
class Passing(Notification):
    """A notification whose ``time_left`` is never less than `LEAST`."""

    @property
    def time_left(self) -> float:
        """Seconds left to show it."""
        return max(LEAST, super().time_left)

    @property
    def has_expired(self) -> bool:
        """Whether it need not be shown any more."""
        return self.raised_at + self.timeout <= time.time()
