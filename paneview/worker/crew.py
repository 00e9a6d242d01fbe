"""What the threads of a worker share: the jobs under way, and whether to go on.

Nothing here waits or asks the queue, so that a slot pays next to nothing for being watched.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paneview.worker.command import Command, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paneview.broker import Lease
    from paneview.broker.interface import Hold

SETTLED = 0.2  # seconds after which a job is one that the keeper looks after
OVERTIME = 5.0  # seconds that a handler has to end after it was told to


@dataclass(eq=False, slots=True)
class Running:
    """A job under way in a slot."""

    lease: Lease
    command: Command
    began: float  # monotonic
    deadline: float  # monotonic
    held: bool = False
    """The keeper waits for words about it."""
    given_up: float | None = None
    """When its handler, told to end, counts as stuck."""


@dataclass(slots=True)
class Stopping:
    """How far the worker's end has got."""

    asked: int = 0  # how often
    reason: str = ""
    until: float | None = None  # monotonic: jobs may go on so long


class Crew:
    """Shared by slots, keeper and the main thread, which sleeps on ``alarm``."""

    def __init__(self, grace: float) -> None:
        self.stopping = Stopping()
        self.alarm, self.bell = os.pipe()
        os.set_blocking(self.alarm, False)
        os.set_blocking(self.bell, False)
        self._grace = grace
        self._lock = threading.Lock()
        self._keeper = threading.Condition(self._lock)
        self._keeper_idle = False
        self._running: dict[str, Running] = {}
        self._next_alarm = float("inf")
        self.rehold: Callable[[], None] = lambda: None
        self.closed = False

    # Slots

    def begin(self, lease: Lease, command: Command) -> Running:
        """A slot has a job."""
        now = time.monotonic()
        running = Running(lease, command, now, now + lease.job.timeout)
        with self._lock:
            self._running[lease.id] = running
            sooner = running.deadline < self._next_alarm
            if self._keeper_idle:
                self._keeper_idle = False
                self._keeper.notify()
        if sooner:
            self.ring()
        return running

    def end(self, running: Running) -> bool:
        """Its handler is done; False: too late, somebody else has told the queue already."""
        with self._lock:
            if self._running.get(running.lease.id) is not running:
                return False
            del self._running[running.lease.id]
        if running.held:
            self.rehold()
        return True

    @property
    def ending(self) -> bool:
        """No new jobs are to be begun."""
        return self.stopping.asked > 0

    # The main thread

    def ring(self) -> None:
        """Wake the main thread; also fit for a signal handler."""
        with suppress(BlockingIOError):  # it has enough to wake up for
            os.write(self.bell, b".")

    def stop(self, reason: str) -> None:
        """Begin no new job. Asked again: hand back those under way at once."""
        stopping = self.stopping
        stopping.asked += 1
        stopping.reason = stopping.reason or reason
        now = time.monotonic()
        stopping.until = now if stopping.asked > 1 else now + self._grace
        self.ring()

    def sleep(self, most: float | None) -> None:
        """Sleep until something is due, ``ring`` or ``most`` seconds have passed."""
        with self._lock:
            due = [r.deadline if r.given_up is None else r.given_up for r in self._running.values()]
            self._next_alarm = min(due, default=float("inf"))
        wait = self._next_alarm - time.monotonic()
        seconds = min(wait, float("inf") if most is None else most)
        select.select([self.alarm], [], [], None if seconds == float("inf") else max(0.0, seconds))
        with suppress(BlockingIOError):
            os.read(self.alarm, 4096)

    def overdue(self) -> list[Running]:
        """Tell handlers whose time is up to end; those who did not listen, which are ours to report now."""
        now = time.monotonic()
        stuck = []
        with self._lock:
            running = list(self._running.values())
            for one in running:
                if one.given_up is not None and now >= one.given_up:
                    del self._running[one.lease.id]
                    stuck.append(one)
        until = self.stopping.until
        for one in running:
            if one.given_up is None and now >= one.deadline:
                self.end_early(one, "timeout")
            elif one.given_up is None and until is not None and now >= until:
                self.end_early(one, "stopping")
        return stuck

    def end_early(self, running: Running, reason: Reason) -> None:
        """Tell a handler to end."""
        if running.given_up is None:
            running.given_up = time.monotonic() + OVERTIME
            running.command.cancel(reason)
            self.ring()

    def under_way(self) -> list[Running]:
        """The jobs of this moment."""
        with self._lock:
            return list(self._running.values())

    # The keeper

    def to_hold(self) -> list[Lease]:
        """The leases of jobs that have been under way for a moment."""
        old = time.monotonic() - SETTLED
        with self._lock:
            held = [running for running in self._running.values() if running.began <= old]
            for running in held:
                running.held = True
        return [running.lease for running in held]

    def heard(self, leases: Sequence[Lease], holds: Sequence[Hold]) -> None:
        """What the queue says of them."""
        for lease, hold in zip(leases, holds, strict=True):
            running = self._running.get(lease.id)
            if running is None or running.lease is not lease or hold == "held":
                continue
            self.end_early(running, "cancel" if hold == "cancel" else "lost")

    def keeper_sleeps(self, most: float) -> None:
        """Sleep until there is a job to look after, or ``most`` seconds have passed."""
        with self._keeper:
            if self.closed:
                return
            if self._running:
                self._keeper.wait(min(SETTLED, most))
                return
            self._keeper_idle = True
            woken = self._keeper.wait(most)
            self._keeper_idle = False
            if woken and not self.closed:
                # No job needs it sooner, and with thousands of them a second it must not wake for each.
                self._keeper.wait(min(SETTLED, most))

    def close(self) -> None:
        """The keeper is to end."""
        with self._keeper:
            self.closed = True
            self._keeper.notify_all()
        self.rehold()
