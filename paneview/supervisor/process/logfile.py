"""The supervisor's own log: in ``supervisor.log``, and on its terminal if it has one.

Each is written by its own thread. A terminal stopped with Ctrl-S, or a slow disk, holds up that thread and nothing
else.
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
WAITING = 10_000  # records kept for a target that does not take them; more are dropped
GATHER = 0.5  # seconds for which records are gathered before they are written, unless there is a warning
LAST_WORDS = 1.0  # seconds to write the rest at the end
SAME = 10.0  # seconds in which a message repeated by asyncio is logged once


class ThreadedHandler(logging.Handler):
    """Passes records to another handler on a thread, in order.

    The thread gathers records for a moment before it writes them: woken by each one, it would compete with the event
    loop, for a third of a millisecond every time, and most of all while fifty tasks are being started. Warnings are
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
        """Queue the record; never blocks. If too many wait it is dropped silently: there is no place to report it."""
        if len(self._waiting) < WAITING:
            self._waiting.append(record)
        if not self._some.is_set():
            self._some.set()
        if record.levelno >= logging.WARNING:
            self._at_once.set()

    def close(self) -> None:
        """Write what is waiting, for `LAST_WORDS` seconds at most."""
        self._ended = True
        self._at_once.set()
        self._some.set()
        self._thread.join(LAST_WORDS)
        super().close()

    def _write(self) -> None:
        while not self._ended:
            self._some.wait()
            self._at_once.wait(GATHER)
            # Before the records are taken: one that comes from now on sets them again.
            self._some.clear()
            self._at_once.clear()
            self._write_waiting()
        self._write_waiting()  # what came before the end, but after the last pass
        self._target.close()

    def _write_waiting(self) -> None:
        while self._waiting:
            self._target.handle(self._waiting.popleft())


class Repeats(logging.Filter):
    """Drops repetitions of the last message.

    With no descriptor left, asyncio logs every second, with a traceback, that a WebSocket client cannot be accepted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said, self._until = "", 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record."""
        now, words = time.monotonic(), record.getMessage()
        if words == self._said and now < self._until:
            return False
        self._said, self._until = words, now + SAME
        return True


def set_up(file: Path) -> None:
    """Log to this file and to standard output from now on.

    Facts that no line shows are not looked up for each record, as Python's logging guide advises. An error of one
    target is not reported on the other.
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
