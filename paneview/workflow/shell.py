"""Shell commands of a workflow (``verify``, ``setup``): run with a time limit, and ended with their process tree.

Each run is marked in its environment. A killed supervisor may have left one running; before a command is run again,
what is left of it is found by that mark and ended.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from paneview import proc
from paneview.worker import child
from paneview.worker.prompt import inherited

TAIL = 16_000  # characters kept of its output
PATIENCE = 5.0  # seconds for processes of an earlier run to end
_LOOK = 0.05


class _Limit:
    """The `child.Wish` of a command: it must end at its time limit or when stopped."""

    def __init__(self, timeout: float, ended: threading.Event) -> None:
        self._end = time.monotonic() + timeout
        self._ended = ended
        self._timeout = timeout

    @property
    def late(self) -> bool:
        return time.monotonic() >= self._end

    @property
    def cancelled(self) -> bool:
        return self.late or self._ended.is_set()

    @contextmanager
    def on_cancel(self, wake: Callable[[], None]) -> Iterator[None]:
        over = threading.Event()

        def watch() -> None:
            while not over.is_set() and not self.cancelled:
                self._ended.wait(min(0.2, max(0.0, self._end - time.monotonic())))
            if not over.is_set():
                wake()

        watcher = threading.Thread(target=watch, name="limit", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


class Shell:
    """Runs commands, which inherit ``environ``. What they print passes through ``mask`` before it is cut."""

    def __init__(self, environ: Mapping[str, str], mask: Callable[[str], str] = str) -> None:
        self.environ = environ
        self.mask = mask
        self._ended = threading.Event()
        self._stops: dict[str, threading.Event] = {}

    def run(
        self, command: str, cwd: str, name: str, timeout: float, env: Mapping[str, str]
    ) -> tuple[int | None, str]:
        """Run a command; returns its exit code (None if it was ended or could not be run) and the end of its output."""
        mark = marker(name)
        # An event for this run alone: another of the same name that was called off may still be ending.
        stop = self._stops[name] = threading.Event()
        end_left(name)
        if self._ended.is_set():
            stop.set()
        limit = _Limit(timeout, stop)
        try:
            ended = child.run(
                limit,
                ["/bin/sh", "-c", command],
                text="",
                cwd=Path(cwd),
                env={**inherited(self.environ), **env, proc.MARKER: mark},
                show=lambda _line: None,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL, in a workflow of an earlier version
            why = error.strerror if isinstance(error, OSError) else error
            return None, f"{command!r} could not be run in {cwd}: {why}"
        finally:
            if self._stops.get(name) is stop:
                del self._stops[name]
            end_left(name)
        printed = "\n".join(part for part in (ended.output.rstrip(), ended.errors) if part)
        tail = self.mask(printed)[-TAIL:]
        if ended.cut:
            why = f"[ended after {timeout:g} s]" if limit.late else "[ended]"
            return None, f"{tail}\n{why}"
        return ended.code, tail

    @property
    def closed(self) -> bool:
        """Whether `close` was called, which makes the results of commands meaningless."""
        return self._ended.is_set()

    def stop(self, name: str) -> None:
        """End the command of this name, if it is running."""
        if found := self._stops.get(name):
            found.set()

    def close(self) -> None:
        """End all commands, now and later."""
        self._ended.set()
        for stop in list(self._stops.values()):
            stop.set()


def marker(name: str) -> str:
    """The mark of a command and of all that it starts."""
    return f"workflow-{name}"


def left() -> list[str]:
    """The names of all commands of which something is running on this host, whoever began them."""
    return [mark.removeprefix(marker("")) for mark in proc.ProcessTable.read().marked(marker(""))]


def end_left(name: str) -> None:
    """End what is left of a run of this name, such as one whose supervisor was killed."""
    mark = marker(name)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        left = {one for one in proc.ProcessTable.read().members(None, mark) if one.pid != os.getpid()}
        if not left:
            return
        proc.send(signal.SIGKILL, left)
        time.sleep(_LOOK)
