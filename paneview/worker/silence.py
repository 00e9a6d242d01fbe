"""Which silent workers hang: a worker may be silent only because it could not be heard.

While the queue is away, or the machine sleeps, no heartbeat gets through. When that is over, those who look for hung
workers may well be sooner than the workers' next heartbeats. So a silent worker counts as hung only after it had the
time for some: the queue was there, and looked at again and again, for a third of what it may be silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from paneview.broker.boot import since_boot

if TYPE_CHECKING:
    from paneview.broker import WorkerView

SLACK = 1.0  # seconds that a look may be late


class Silence:
    """For one queue, which is looked at every so many seconds."""

    def __init__(self, every: float) -> None:
        self._longest = 2 * every + SLACK
        self._since: float | None = None
        self._last = 0.0

    def doubt(self) -> None:
        """Note that the queue did not answer."""
        self._since = None

    def hung(self, views: Iterable[WorkerView]) -> list[WorkerView]:
        """The workers that could have been heard, and are not."""
        now = since_boot()  # counts the machine's sleep
        if self._since is None or now - self._last > self._longest:
            self._since = now
        self._last = now
        return [view for view in views if not view.alive and now - self._since >= view.worker.ttl / 3]
