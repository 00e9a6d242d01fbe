"""The gate: one writer at a time over all processes, with a limit on the wait.

A ``flock`` on a file next to the database. A killed holder frees it at once; a stopped one holds it until it is
continued or killed, so waiters don't block in the kernel, which knows no deadline, but try again at growing intervals.
One that gives up can name the process in the way: Linux lists the holders of all locks.

Only the *next* waiter, which holds a second such lock, tries again at once; the others sleep. If all were awake, they
would take the processor from the holder; if all slept, none would be ready when it leaves.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from paneview.store.database import PRIVATE

SHORT = 0.003  # seconds, a few transactions, for which the next waiter only yields the processor
PAUSES = (0.000_1, 0.002)  # seconds, shortest and longest, between its attempts after that
PAUSES_OF_OTHERS = (0.01, 0.05)
# Seconds of waiting after which haste is pointless: the holder is not in an ordinary transaction.
LONG_SINCE = 0.1
LONG_PAUSE = 0.02
WRITE_LOCK = 120  # the byte of the -shm file that SQLite locks for a writer


class Gate:
    """The gate of a database. Raises OSError if its files cannot be created."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor = _lock_file(f"{database}.gate")
        try:
            self._next = _lock_file(f"{database}.next")
        except OSError:
            os.close(self._descriptor)
            raise

    def enter(self, until: float) -> bool:
        """Get in; False if that is not possible before ``until`` (monotonic clock)."""
        return _take(self._descriptor) or self._queue(until)

    def _queue(self, until: float) -> bool:
        began = time.monotonic()
        pause, longest = PAUSES_OF_OTHERS
        is_next, hurry = False, 0.0
        try:
            while True:
                now = time.monotonic()
                if not is_next and _take(self._next):
                    is_next, hurry = True, now + SHORT
                    pause, longest = PAUSES
                if now >= until:
                    return False
                if now < hurry:
                    os.sched_yield()
                else:
                    time.sleep(min(pause, until - now))
                    pause = min(pause * 2, max(longest, LONG_PAUSE if now - began > LONG_SINCE else 0.0))
                if _take(self._descriptor):
                    return True
        finally:
            if is_next:
                fcntl.flock(self._next, fcntl.LOCK_UN)

    def tally(self, more: int) -> int:
        """Add to a sum shared by all processes and return it. Only inside. Not stored if the disk is full."""
        known = os.pread(self._descriptor, 8, 0)
        total = more + (int.from_bytes(known, "little") if len(known) == 8 else 0)
        with suppress(OSError):
            os.pwrite(self._descriptor, total.to_bytes(8, "little"), 0)
        return total

    def leave(self) -> None:
        """Let the next process in."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave for good."""
        os.close(self._descriptor)
        os.close(self._next)

    def holder(self) -> Holder | None:
        """The process that is inside or holds SQLite's own lock; None if there is none or the system cannot tell.

        Of several, a stopped one is preferred; our own process is returned only if there is no other.
        """
        found = [Holder(pid) for pid in self._holders()]
        return min(found, key=lambda one: (not one.stopped, one.pid == os.getpid()), default=None)

    def _holders(self) -> Iterator[int]:
        """Process ids from lines like ``12: POSIX  ADVISORY  WRITE 4711 fe:01:7602222 120 120``."""
        gate, index, lines = os.fstat(self._descriptor).st_ino, 0, []
        with suppress(OSError):
            lines = Path("/proc/locks").read_text().splitlines()
            index = os.stat(f"{self._database}-shm").st_ino
        for line in lines:
            fields = line.split()
            if "->" in fields or len(fields) < 8:
                continue  # a waiter
            kind, mode, pid, inode, first, last = (fields[1], *fields[3:8])
            number = int(inode.rpartition(":")[2])
            inside = kind == "FLOCK" and number == gate
            writes = kind == "POSIX" and mode == "WRITE" and number == index
            if int(pid) > 0 and (inside or (writes and int(first) <= WRITE_LOCK <= _byte(last))):
                yield int(pid)


def _lock_file(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _byte(last: str) -> int:
    return 1 << 62 if last == "EOF" else int(last)


class Holder(NamedTuple):
    """The process that is in the way."""

    pid: int

    @property
    def stopped(self) -> bool:
        """Whether it has been stopped, by SIGSTOP or Ctrl-Z."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
        except (OSError, IndexError):
            return False

    def __str__(self) -> str:
        """The process in words, and what the user can do about it."""
        name = ""
        with suppress(OSError):
            name = f" ({Path(f'/proc/{self.pid}/comm').read_text().strip()})"
        how = f", which is stopped: kill -CONT {self.pid} lets it go on" if self.stopped else ""
        return f"process {self.pid}{name}{how}"
