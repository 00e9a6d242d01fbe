"""A program in a pseudo-terminal, as a person runs it: what it draws, and how long after a key."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROWS, COLUMNS = 50, 160
CONTROL = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][0-9A-B]|[=>78])")
KEPT = 1 << 20  # bytes of output
PAUSE = 0.005  # seconds between two frames, at least
PATIENCE = 60.0  # seconds


class Screen:
    """A program on its own terminal; a thread reads its output as fast as it comes."""

    def __init__(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._argv = list(argv)
        self._cwd = cwd
        self._env = {**env, "TERM": "xterm-256color"}
        self._drawn = b""
        self.frames = 0  # the number of bursts of output, each after a pause
        self._news = threading.Condition()

    def __enter__(self) -> Screen:
        """Spawn the program; `began` is the time of that (`time.perf_counter`)."""
        self.began = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(self._cwd)
            os.execve(self._argv[0], self._argv, self._env)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        last = 0.0
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # the program has ended
                return
            now = time.perf_counter()
            self.frames += now - last > PAUSE
            last = now
            with self._news:
                self._drawn = (self._drawn + data)[-KEPT:]
                self._news.notify_all()

    def wait_for(self, text: str, patience: float = PATIENCE) -> float:
        """Wait until ``text`` has been drawn since the last `press`; returns the time (`time.perf_counter`)."""
        end = time.monotonic() + patience
        with self._news:
            while text not in self.text():
                if not self._news.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"{text!r} was not drawn; last: {self.text()[-1000:]}")
        return time.perf_counter()

    def text(self) -> str:
        """What was drawn since the last `press`, without control sequences."""
        return CONTROL.sub(b"", self._drawn).decode(errors="replace")

    def press(self, keys: str) -> float:
        """Forget what was drawn so far and type ``keys``; returns the time (`time.perf_counter`)."""
        with self._news:
            self._drawn = b""
        now = time.perf_counter()
        os.write(self._fd, keys.encode())
        return now

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send SIGHUP to the program, and only to it, as a terminal does when it is closed."""
        os.kill(self.pid, signal.SIGHUP)
        os.waitpid(self.pid, 0)
        self._reader.join()
        os.close(self._fd)
