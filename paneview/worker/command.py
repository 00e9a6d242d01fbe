"""What a handler gets to see of a job, and what it may raise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from paneview.broker import Job, Lease
from paneview.broker.model import MOST_SECONDS, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

Reason = Literal["timeout", "cancel", "lost", "stopping"]
"""Why a handler is to end early: its time is up, somebody cancelled the job, another worker has it, we are to stop."""


class Failure(Exception):  # noqa: N818 - what people of the field call it
    """A handler failed, and knows more about it than an exception tells.

    ``retry`` False: trying again is pointless. ``retry_in``: seconds before the next attempt; None: the queue's
    growing delay. Raises ValueError for a delay that no job may have: that is what the handler failed with, then.
    """

    def __init__(self, message: str, *, retry: bool = True, retry_in: float | None = None) -> None:
        super().__init__(message)
        if retry_in is not None and not retry_in <= MOST_SECONDS:  # nor is NaN
            raise ValueError(
                f"{message}; and retry_in is not a delay of at most {MOST_SECONDS:g} s: {retry_in}"
            )
        self.retry = retry
        self.retry_in = retry_in


class HandBack(Exception):  # noqa: N818 - what is done
    """A handler gives the job back: nobody can do it now, and no attempt is spent. ``delay``: seconds until it may."""

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class Command:
    """A job in a worker's hands. The payload is data from outside: never run what it says."""

    def __init__(self, lease: Lease, say: Callable[[str], None], stop_worker: Callable[[str], None]) -> None:
        self.lease = lease
        self.say = say
        """Show a line in the worker's pane."""
        self.stop_worker = stop_worker
        """End the worker once its jobs are done; the argument says why."""
        self._reason: Reason | None = None
        self._lock = threading.Lock()
        # Made for whoever waits: most jobs are over before anybody does.
        self._ended: threading.Event | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def job(self) -> Job:
        """The whole job."""
        return self.lease.job

    @property
    def id(self) -> str:
        """The job's id."""
        return self.lease.job.id

    @property
    def kind(self) -> str:
        """The job's kind."""
        return self.lease.job.kind

    @property
    def type(self) -> str:
        """The same, as PaneBus has it."""
        return self.lease.job.kind

    @property
    def payload(self) -> Json:
        """What was sent; an empty dict if nothing was."""
        payload = self.lease.job.payload
        return {} if payload is None else payload

    @property
    def timeout(self) -> float:
        """Seconds that this attempt may take."""
        return self.lease.job.timeout

    @property
    def reason(self) -> Reason | None:
        """Why the handler is to end early; None: it is not."""
        return self._reason

    @property
    def cancelled(self) -> bool:
        """Whether the handler is to end early. Long handlers look now and then, or use `wait` or `on_cancel`."""
        return self._reason is not None

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until the handler is to end; whether it is."""
        with self._lock:
            if self._reason is not None:
                return True
            ended = self._ended = self._ended or threading.Event()
        return ended.wait(seconds)

    def cancel(self, reason: Reason) -> None:
        """Tell the handler to end; only the first reason counts."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks = list(self._callbacks)
            if self._ended is not None:
                self._ended.set()
        for callback in callbacks:
            callback()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the block, ``callback`` is called from another thread as soon as the handler is to end."""
        with self._lock:
            late = self._reason is not None
            self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)
