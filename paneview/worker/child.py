"""A program run for a job: fed on standard input, its output shown as it comes and kept within bounds, all of it ended.

It gets a session of its own: a Ctrl-C in the worker's pane goes only to the worker, which decides what happens to the
job. To end a program, SIGTERM and then SIGKILL are sent to it and to everything it has started, including processes in
groups of their own (such as an agent's shell commands). Nothing is left behind when a job is over.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from paneview import proc
from paneview.store.clean import plain
from paneview.text import last_of

KEEP = 256 * 1024  # bytes kept of the output: the last ones
KEEP_ERRORS = 4 * 1024
PATIENCE = 1.5  # seconds from SIGTERM to SIGKILL: less than a supervisor leaves the worker between the two
LAST_WORDS = 0.25  # seconds to wait for output through a pipe that a background process holds open
LOOK = 0.05  # seconds between two checks where there are no pidfds
CHUNK = 65536


class Wish(Protocol):
    """Whether the program is still wanted; implemented by a job's `Command`."""

    @property
    def cancelled(self) -> bool:
        """Whether the program must end."""
        ...

    def on_cancel(self, wake: Callable[[], None], /) -> AbstractContextManager[None]:
        """Within the context, call ``wake`` from any thread as soon as the program must end."""
        ...


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    """Its exit code, or a negative signal number."""
    output: str
    errors: str
    """The end of what it wrote to standard error."""
    cut: bool
    """It was still running when it was told to end, so it is not done, whatever its exit code."""


class _Stream:
    """One of the program's outputs: all lines are shown, the end is kept."""

    def __init__(self, show: Callable[[str], None], keep: int) -> None:
        self._show = show
        self._keep = keep
        self._kept = bytearray()
        self._line = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > 3 * self._keep:  # occasionally, not for each piece; `end` cuts once more
            self._drop(len(self._kept) - 2 * self._keep)
        *lines, rest = (bytes(self._line) + data).split(b"\n")
        for line in lines:
            self._show(plain(line))
        self._line = bytearray(rest[-CHUNK:])

    def _drop(self, count: int) -> None:
        del self._kept[:count]
        self._dropped += count

    def end(self) -> str:
        """Show an unfinished last line, and return all that is kept as plain text."""
        if self._line:
            self._show(plain(bytes(self._line)))
            self._line.clear()
        kept = last_of(bytes(self._kept), self._keep)
        self._drop(len(self._kept) - len(kept))
        text = "\n".join(plain(line) for line in kept.split(b"\n"))
        return f"[{self._dropped} bytes left out]\n{text}" if self._dropped else text


def run(
    command: Wish,
    argv: Sequence[str],
    *,
    text: str,
    cwd: Path,
    env: Mapping[str, str],
    show: Callable[[str], None],
) -> Ended:
    """Run ``argv`` with ``text`` on its standard input until it ends or the job must end. Raises OSError."""
    with tempfile.TemporaryFile() as stdin:
        stdin.write(text.encode("utf-8", "replace"))
        stdin.seek(0)
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
        )
    try:
        child = _Child(process, show)
    except OSError:  # no descriptor left, so nothing would watch over it
        with process:  # closes its pipes and waits
            os.killpg(process.pid, signal.SIGKILL)
        raise
    try:
        with command.on_cancel(child.wake):
            child.read(lambda: command.cancelled)
        cut = process.poll() is None
    finally:
        child.end()
    return Ended(process.returncode, child.output.end(), child.errors.end().strip(), cut)


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], show: Callable[[str], None]) -> None:
        self.output = _Stream(show, KEEP)
        self.errors = _Stream(show, KEEP_ERRORS)
        self._process = process
        self._id = proc.identify(process.pid)
        self._known: set[proc.ProcessId] = set()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe()
        self._pidfd: int | None = None
        with suppress(AttributeError, OSError):  # there are none here, or no descriptor is left: `LOOK`
            self._pidfd = os.pidfd_open(process.pid)
        for file, stream in ((process.stdout, self.output), (process.stderr, self.errors)):
            assert file
            self._selector.register(file, selectors.EVENT_READ, (file, stream))
        self._selector.register(self._woken, selectors.EVENT_READ)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ)

    def wake(self) -> None:
        """Wake `read` to check whether the job must end; from any thread."""
        os.write(self._waker, b".")

    def read(self, cancelled: Callable[[], bool]) -> None:
        """Read until the program and its output have ended, or until the job must end."""
        end: float | None = None
        while not cancelled():
            if end is None and self._process.poll() is not None:
                end = time.monotonic() + LAST_WORDS
            streams = [key for key in self._selector.get_map().values() if key.data]
            if end is not None and (not streams or time.monotonic() >= end):
                return
            self._turn(end)

    def _turn(self, end: float | None) -> None:
        timeout = LOOK if end is None and self._pidfd is None else None
        if end is not None:
            timeout = max(0.0, end - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.data:
                self._read(*key.data)
            elif key.fd == self._pidfd:
                self._selector.unregister(self._pidfd)

    def _read(self, file: IO[bytes], stream: _Stream) -> None:
        data = os.read(file.fileno(), CHUNK)
        if data:
            stream.feed(data)
        else:
            self._selector.unregister(file)

    def end(self) -> None:
        """End whatever is left of the program, and close all descriptors."""
        try:
            if self._members():
                self._signal(signal.SIGTERM)
                until = time.monotonic() + PATIENCE
                while self._members() and time.monotonic() < until:
                    time.sleep(LOOK)
            while self._members():
                self._signal(signal.SIGKILL)
                time.sleep(LOOK)
            self._process.wait()
        except OSError:  # no descriptor left to look for what it has started
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        finally:
            self._selector.close()
            for fd in (self._woken, self._waker, self._pidfd):
                if fd is not None:
                    os.close(fd)
            for file in (self._process.stdout, self._process.stderr):
                assert file
                file.close()

    def _members(self) -> set[proc.ProcessId]:
        table = proc.ProcessTable.read()
        found = table.members(self._id, "", self._process.pid, self._known)
        self._known |= found
        return found

    def _signal(self, number: int) -> None:
        proc.send(number, self._known)
