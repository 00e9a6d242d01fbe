"""Waiting without a busy poll: look, hang up a bell, look again, then sleep until it rings or something is due.

The second look closes the gap between the first and the bell; a look at intervals (`Settings.look`) covers a bell that
was lost with the process that was about to ring it. Bells are kept for the next wait on the same topics, since hanging
one up costs a transaction.

Topics: a lane's name for new work in it, ``=JOB`` for a job's end, ``@OWNER`` for requests to a holder, ``*`` for
events.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from paneview.rules.jobs import next_look

T = TypeVar("T")
Topics = tuple[str, ...]

EVENTS = "*"
SPARE_BELLS = 4  # kept at most: the most recently used


def job_topic(job: str) -> str:
    """The topic that rings when the job is over."""
    return f"={job}"


def owner_topic(owner: str) -> str:
    """The topic that rings when there is a request for the holder."""
    return f"@{owner}"


class Bell(Protocol):
    """Something to sleep on."""

    called_off: bool
    """Whether `call_off` was called."""

    def wait(self, timeout: float) -> None:
        """Sleep for ``timeout`` seconds or until it rings; return at once if it rang since the last wait."""

    def call_off(self) -> None:
        """End this wait and all that follow, from any thread or signal handler."""

    def close(self) -> None:
        """Remove it."""


class Bells:
    """The bells of one broker object; any thread may wait."""

    def __init__(self, hang_up: Callable[[Topics], Bell]) -> None:
        self._hang_up = hang_up
        self._spare: OrderedDict[Topics, Bell] = OrderedDict()
        self._busy: dict[int, Bell] = {}
        self.generation = 0
        """Grows with each `call_off`, which ends the waits of earlier generations."""
        self.ended = False
        """Whether `wait` only looks and no longer waits."""

    @contextmanager
    def borrow(self, topics: Topics) -> Iterator[Bell]:
        """A bell that rings for any of the topics."""
        bell = self._spare.pop(topics, None) or self._hang_up(topics)
        self._busy[id(bell)] = bell
        whole = False
        try:
            yield bell
            whole = True
        finally:
            del self._busy[id(bell)]
            # In one step: two threads may return bells for the same topics.
            if not whole or bell.called_off or self._spare.setdefault(topics, bell) is not bell:
                bell.close()
            elif len(self._spare) > SPARE_BELLS:
                self._spare.popitem(last=False)[1].close()

    def wait(
        self,
        topics: Sequence[str],
        look: Callable[[], tuple[T, float | None]],
        timeout: float,
        every: float,
    ) -> T:
        """Return the first truthy answer of ``look``, or its last one after ``timeout`` seconds or `call_off`.

        ``look`` also returns the seconds until something is due that rings no bell, or None.
        """
        generation = self.generation
        found, _ = look()
        if found or timeout <= 0 or self.ended:
            return found
        end = time.monotonic() + timeout
        with self.borrow(tuple(topics)) as bell:
            while True:
                found, due = look()
                left = end - time.monotonic()
                if found or left <= 0 or self.generation != generation:
                    return found
                bell.wait(next_look(every, left, due))

    def call_off(self, *, for_good: bool = False) -> None:
        """End all current waits and, with ``for_good``, every later one."""
        self.ended = self.ended or for_good
        self.generation += 1
        for bell in list(self._busy.values()):
            bell.call_off()

    def close(self) -> None:
        """Remove the bells on which no thread waits."""
        while self._spare:
            self._spare.popitem()[1].close()
