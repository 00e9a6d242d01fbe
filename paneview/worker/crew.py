"""State that the threads of a worker share: the jobs under way, and whether to go on.

Nothing here calls the queue, so being watched costs a slot next to nothing.
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

SETTLED = 0.2  # seconds after which the keeper looks after a job
OVERTIME = 5.0  # seconds a handler has to end after it was told to
LONGEST_SLEEP = 3600.0  # seconds of the main thread at a time: `poll` takes no more than some weeks


@dataclass(eq=False, slots=True)
class Running:
    """A job under way in a slot."""

    lease: Lease
    command: Command
    began: float  # monotonic
    deadline: float  # monotonic
    held: bool = False
    """Whether the keeper renews its lease."""
    given_up: float | None = None
    """When (monotonic) its handler, told to end, counts as stuck."""


@dataclass(slots=True)
class Stopping:
    """The state of the worker's shutdown."""

    asked: int = 0  # how many times
    reason: str = ""
    until: float | None = None  # monotonic: how long jobs may go on


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
        # By lease, not by job: one slot may still be at a job that was lost when another slot claims it again.
        self._running: dict[int, Running] = {}
        self._next_alarm = float("inf")
        self.rehold: Callable[[], None] = lambda: None
        self.closed = False

    # Slots

    def begin(self, lease: Lease, command: Command) -> Running:
        """Note that a slot begins a job."""
        now = time.monotonic()
        running = Running(lease, command, now, now + lease.job.timeout)
        with self._lock:
            self._running[id(lease)] = running
            sooner = running.deadline < self._next_alarm
            if self._keeper_idle:
                self._keeper_idle = False
                self._keeper.notify()
        if sooner:
            self.ring()
        return running

    def end(self, running: Running) -> bool:
        """Note that a handler is done; False if it is too late, because the job was reported as stuck."""
        with self._lock:
            if self._running.pop(id(running.lease), None) is None:
                return False
        if running.held:
            self.rehold()
        return True

    @property
    def ending(self) -> bool:
        """Whether no new jobs may be begun."""
        return self.stopping.asked > 0

    # The main thread

    def ring(self) -> None:
        """Wake the main thread; may be called from a signal handler."""
        with suppress(BlockingIOError):  # the pipe is full, so it wakes anyway
            os.write(self.bell, b".")

    def stop(self, reason: str) -> None:
        """Begin no new jobs. On a second call: end those under way at once, to hand them back."""
        stopping = self.stopping
        stopping.asked += 1
        stopping.reason = stopping.reason or reason
        now = time.monotonic()
        stopping.until = now if stopping.asked > 1 else now + self._grace
        self.ring()

    def sleep(self, most: float | None) -> None:
        """Sleep until something is due, `ring` is called or ``most`` seconds have passed, an hour at most."""
        with self._lock:
            due = [r.deadline if r.given_up is None else r.given_up for r in self._running.values()]
            self._next_alarm = min(due, default=float("inf"))
        wait = self._next_alarm - time.monotonic()
        seconds = min(wait, LONGEST_SLEEP if most is None else most)
        poll = select.poll()  # not `select`, which takes no descriptor above 1023
        poll.register(self.alarm, select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
        with suppress(BlockingIOError):
            os.read(self.alarm, 4096)

    def overdue(self) -> list[Running]:
        """Tell handlers whose time is up to end; returns the jobs of stuck ones, which the caller must report."""
        now = time.monotonic()
        stuck = []
        with self._lock:
            running = list(self._running.values())
            for one in running:
                if one.given_up is not None and now >= one.given_up:
                    del self._running[id(one.lease)]
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
        """The jobs currently under way."""
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
        """Handle the queue's answers to the renewals."""
        for lease, hold in zip(leases, holds, strict=True):
            running = self._running.get(id(lease))
            if running is None or hold == "held":
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
                # No job needs the keeper sooner, and with thousands of jobs a second it must not wake for each.
                self._keeper.wait(min(SETTLED, most))

    def close(self) -> None:
        """Tell the keeper to end."""
        with self._keeper:
            self.closed = True
            self._keeper.notify_all()
        self.rehold()
