"""What a worker prints into its pane: a line when a job begins, its program's output, a line when it ends.

Everything that came with a job is shown with control characters escaped: a payload must not be able to control the
terminal. With ``as_json`` each line is an object for programs instead.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from paneview.text import escaped

if TYPE_CHECKING:
    from typing import TextIO

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_COLOURS = {"started": "36", "done": "32", "failed": "31", "warning": "33", "error": "31", "retry": "33"}
_SIGNS = {
    "started": "▶",
    "done": "✓",
    "failed": "✗",
    "cancelled": "■",
    "returned": "↩",
    "warning": "!",
    "error": "!",
}
LONGEST = 300  # characters of a job's own text on one line
LONGEST_OUTPUT = 2000  # characters of a line that its program printed


def clean(text: object, most: int = LONGEST) -> str:
    """Untrusted text as one line, with control characters escaped and cut to ``most`` characters."""
    plain = escaped(str(text).replace("\n", " ⏎ "))
    return plain if len(plain) <= most else plain[: most - 1] + "…"


class Console:
    """Prints lines; thread-safe."""

    def __init__(self, *, as_json: bool = False, level: str = "INFO", stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._json = as_json
        self._least = LEVELS.get(level, 20)
        self._lock = threading.Lock()
        self._second = (0, "")
        self.colour = self._stream.isatty() and not as_json

    def tell(self, event: str, text: str, *, level: str = "INFO", **fields: Any) -> None:
        """Report an event: ``text`` for people; ``event``, ``text`` and ``fields`` for programs."""
        if LEVELS[level] < self._least:
            return
        now = time.time()
        if self._json:
            self._write(
                json.dumps({"ts": round(now, 3), "event": event, "text": text, **fields}, default=str)
            )
            return
        sign = _SIGNS.get(event, "·")
        line = f"{self._clock(now)} {sign} {text}"
        colour = _COLOURS.get(event)
        self._write(f"\x1b[{colour}m{line}\x1b[0m" if self.colour and colour else line)

    def output(self, job: str, line: str) -> None:
        """Print a line of output of a job's program."""
        if self._json:
            self.tell("output", line[:LONGEST_OUTPUT], job=job)
        else:
            self._write(f"         │ {clean(line, LONGEST_OUTPUT)}")

    def _clock(self, now: float) -> str:
        second = int(now)
        if self._second[0] != second:  # thousands of jobs a second share one
            self._second = (second, time.strftime("%H:%M:%S", time.localtime(second)))
        return self._second[1]

    def _write(self, line: str) -> None:
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # the terminal is gone, but jobs must still be finished
                self._stream = _Nowhere()


class _Nowhere:
    """Discards output once the terminal is gone."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return None


class Log:
    """``self.log.info("what_happened", key=value)`` for handlers, as in PaneBus's workers."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def debug(self, event: str, **fields: Any) -> None:
        """Log a detail."""
        self._tell("DEBUG", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log an event."""
        self._tell("INFO", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log a warning."""
        self._tell("WARNING", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log a failure."""
        self._tell("ERROR", event, fields)

    def _tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        words = " ".join([clean(event), *(f"{key}={clean(value)}" for key, value in fields.items())])
        name = level.lower() if level in ("WARNING", "ERROR") else "log"
        self._console.tell(name, words, level=level, **{"fields": fields} if fields else {})
