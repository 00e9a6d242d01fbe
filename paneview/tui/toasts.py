"""Toasts that always have some time left.

Textual gives a toast's timer what is left of its time, which is a little below nothing if that ran out between the look
at it and the next line. A timer of a negative time never comes to an end in 8.2, and the event loop stands still.
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
        """Seconds that are left to show it."""
        return max(LEAST, super().time_left)

    @property
    def has_expired(self) -> bool:
        """Whether it need not be shown any more."""
        return self.raised_at + self.timeout <= time.time()
