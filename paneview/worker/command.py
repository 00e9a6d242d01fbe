"""What a handler sees of a job, and the exceptions it may raise."""

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
"""Why a handler must end early: its time is up, the job was cancelled, another worker has it, the worker stops."""


class Failure(Exception):  # noqa: N818 - the usual term
    """A handler failed and knows more about it than another exception could say.

    ``retry`` False: a retry is pointless. ``retry_in``: seconds before the next attempt; None: the queue's growing
    delay. Raises ValueError for an invalid delay, and that is then the handler's error.
    """

    def __init__(self, message: str, *, retry: bool = True, retry_in: float | None = None) -> None:
        super().__init__(message)
        if retry_in is not None and not retry_in <= MOST_SECONDS:  # also true for NaN
            raise ValueError(
                f"{message}; and retry_in is not a delay of at most {MOST_SECONDS:g} s: {retry_in}"
            )
        self.retry = retry
        self.retry_in = retry_in


class HandBack(Exception):  # noqa: N818 - an action, not an error
    """A handler hands the job back because it can't be done now; the attempt isn't counted. ``delay``: in seconds."""

    def __init__(self, reason: str, delay: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class Command:
    """A job that a worker is doing. The payload is untrusted: never execute what it says."""

    def __init__(self, lease: Lease, say: Callable[[str], None], stop_worker: Callable[[str], None]) -> None:
        self.lease = lease
        self.say = say
        """Show a line in the worker's pane."""
        self.stop_worker = stop_worker
        """End the worker once its jobs are done; the argument says why."""
        self._reason: Reason | None = None
        self._lock = threading.Lock()
        self._calling = threading.RLock()  # held while callbacks are called
        # Created on first use: most jobs end without a `wait`.
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
        """The job's kind, under PaneBus's name."""
        return self.lease.job.kind

    @property
    def payload(self) -> Json:
        """The data that was sent; an empty dict if there is none."""
        payload = self.lease.job.payload
        return {} if payload is None else payload

    @property
    def timeout(self) -> float:
        """Seconds this attempt may take."""
        return self.lease.job.timeout

    @property
    def reason(self) -> Reason | None:
        """Why the handler must end early; None if it need not."""
        return self._reason

    @property
    def cancelled(self) -> bool:
        """Whether the handler must end early. Long handlers check this regularly, or use `wait` or `on_cancel`."""
        return self._reason is not None

    def wait(self, seconds: float) -> bool:
        """Sleep for so many seconds or until the handler must end; returns whether it must."""
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
        with self._calling:
            for callback in callbacks:
                if callback in self._callbacks:
                    callback()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the block, call ``callback`` as soon as the handler must end, usually from another thread.

        Never after it: the end of the block waits for a call under way, so what the callback uses may be closed then.
        """
        with self._lock:
            late = self._reason is not None
            self._callbacks.append(callback)
        if late:
            callback()
        try:
            yield
        finally:
            with self._calling:
                self._callbacks.remove(callback)
