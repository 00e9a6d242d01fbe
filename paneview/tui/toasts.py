"""Toasts whose remaining time is never negative.

Textual sets a toast's timer to its remaining time, which is slightly negative if it runs out between the check and the
next line. In Textual 8.2 a timer with a negative interval never ends, and the event loop hangs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from textual.notifications import Notification

LEAST = 0.01  # s


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
