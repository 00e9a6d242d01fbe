"""What the supervisor says of itself: in ``supervisor.log``, and on its terminal if it has one.

Both are written by a thread of their own each. A terminal that was stopped with Ctrl-S, or a disk that takes its
time, holds up that thread and nothing else.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

SIZE = 2 * 1024 * 1024  # bytes of supervisor.log; one older file is kept
WAITING = 10_000  # records for a place that does not take them; more are dropped
LAST_WORDS = 1.0  # seconds to write the rest at the end


class Background(logging.Handler):
    """Hands records to another handler on a thread, in their order."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target
        self._waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(
            target=self._write, name=f"log to {type(target).__name__}", daemon=True
        )
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """A record too many is dropped in silence: where should one say so?"""

    def close(self) -> None:
        """Write what is waiting, as far as that is quickly done."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(LAST_WORDS)
        super().close()

    def _write(self) -> None:
        while record := self._waiting.get():
            self._target.handle(record)
        self._target.close()


def set_up(file: Path) -> None:
    """Log to this file and to standard output from now on."""
    to_file = RotatingFileHandler(file, maxBytes=SIZE, backupCount=1, encoding="utf-8")
    line = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    line.converter = time.gmtime
    to_file.setFormatter(line)
    to_screen = logging.StreamHandler(sys.stdout)
    to_screen.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[Background(to_file), Background(to_screen)])
    logging.captureWarnings(True)
