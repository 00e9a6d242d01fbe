"""What the supervisor says of itself: in ``supervisor.log``, and on its terminal if it has one.

Both are written by a thread of their own each. A terminal that was stopped with Ctrl-S, or a disk that takes its
time, holds up that thread and nothing else.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path

SIZE = 2 * 1024 * 1024  # bytes of supervisor.log; one older file is kept
WAITING = 10_000  # records for a place that does not take them; more are dropped
GATHER = 0.5  # seconds from the first of some records until they are written, if none of them is a warning
LAST_WORDS = 1.0  # seconds to write the rest at the end
SAME = 10.0  # seconds in which asyncio says the same thing once


class ThreadedHandler(logging.Handler):
    """Hands records to another handler on a thread, in their order.

    The thread sleeps for a moment before it writes what has gathered: woken by each record it would take turns with the
    event loop, a third of a millisecond every time, and most of all while fifty tasks are being started. Warnings are
    written at once.
    """

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target
        self._waiting: deque[logging.LogRecord] = deque()
        self._some = threading.Event()
        self._at_once = threading.Event()
        self._ended = False
        self._thread = threading.Thread(
            target=self._write, name=f"log to {type(target).__name__}", daemon=True
        )
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits. A record too many is dropped in silence: where should one say so?"""
        if len(self._waiting) < WAITING:
            self._waiting.append(record)
        if not self._some.is_set():
            self._some.set()
        if record.levelno >= logging.WARNING:
            self._at_once.set()

    def close(self) -> None:
        """Write what is waiting, as far as that is quickly done."""
        self._ended = True
        self._at_once.set()
        self._some.set()
        self._thread.join(LAST_WORDS)
        super().close()

    def _write(self) -> None:
        while not self._ended:
            self._some.wait()
            self._at_once.wait(GATHER)
            # Before what is there is taken: whoever comes now sets them again.
            self._some.clear()
            self._at_once.clear()
            self._write_waiting()
        self._write_waiting()  # what came before the end, and after the last look
        self._target.close()

    def _write_waiting(self) -> None:
        while self._waiting:
            self._target.handle(self._waiting.popleft())


class Repeats(logging.Filter):
    """Drops what was said just before.

    Without a descriptor left, asyncio says every second, with a trace, that a WebSocket's client cannot be let in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said, self._until = "", 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to let it through."""
        now, words = time.monotonic(), record.getMessage()
        if words == self._said and now < self._until:
            return False
        self._said, self._until = words, now + SAME
        return True


def set_up(file: Path) -> None:
    """Log to this file and to standard output from now on.

    What no line of it shows is not looked up for each record, as Python's guide to logging advises. A place that does
    not take a record is not told of on the other.
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    to_file = RotatingFileHandler(
        file, maxBytes=SIZE, backupCount=1, encoding="utf-8", errors="backslashreplace"
    )
    line = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    line.converter = time.gmtime
    to_file.setFormatter(line)
    to_screen = logging.StreamHandler(sys.stdout)
    to_screen.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[ThreadedHandler(to_file), ThreadedHandler(to_screen)])
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    logging.getLogger("asyncio").addFilter(Repeats())
