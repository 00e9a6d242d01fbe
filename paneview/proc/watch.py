"""Process exits as events: a pidfd becomes readable when its process ends, and costs nothing until then."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from paneview.proc.ids import ProcessId, is_alive

Callback = Callable[[ProcessId], object]
# Used where there are no pidfds (or no more file descriptors).
POLL = 0.02  # seconds


class ExitWatch:
    """Notifies when processes end. Belongs to one event loop; `close` releases its file descriptors.

    A zombie counts as ended, whether its parent reaps it or not. With ``use_pidfd=False`` it polls every
    `POLL` seconds.
    """

    def __init__(self, *, use_pidfd: bool = hasattr(os, "pidfd_open")) -> None:
        self._use_pidfd = use_pidfd
        self._callbacks: dict[ProcessId, list[Callback]] = {}
        self._fds: dict[ProcessId, int] = {}
        self._polled: set[ProcessId] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, process: ProcessId, callback: Callback) -> None:
        """Call ``callback(process)`` once, from the event loop, when the process has ended."""
        waiting = self._callbacks.setdefault(process, [])
        waiting.append(callback)
        if len(waiting) > 1:
            return
        fd = self._open(process.pid)
        # Checked after the pidfd exists: from now on it cannot refer to another process.
        if _has_ended(process):
            if fd is not None:
                os.close(fd)
            asyncio.get_running_loop().call_soon(self._ended, process)
        elif fd is not None:
            self._fds[process] = fd
            asyncio.get_running_loop().add_reader(fd, self._ended, process)
        else:
            self._polled.add(process)
            self._poll_later()

    def unwatch(self, process: ProcessId, callback: Callback) -> None:
        """Remove a callback; does nothing if it was called already."""
        waiting = self._callbacks.get(process, [])
        if callback in waiting:
            waiting.remove(callback)
        if not waiting:
            self._forget(process)

    async def wait(self, process: ProcessId) -> None:
        """Return when the process has ended."""
        ended = asyncio.get_running_loop().create_future()

        def tell(_: ProcessId) -> None:
            if not ended.done():
                ended.set_result(None)

        self.watch(process, tell)
        try:
            await ended
        finally:
            self.unwatch(process, tell)

    def close(self) -> None:
        """Stop watching everything."""
        for process in list(self._callbacks):
            self._forget(process)
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _open(self, pid: int) -> int | None:
        if not self._use_pidfd:
            return None
        try:
            return os.pidfd_open(pid)
        except OSError:  # gone already, or no descriptor left: `watch` checks which
            return None

    def _forget(self, process: ProcessId) -> list[Callback]:
        fd = self._fds.pop(process, None)
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
        self._polled.discard(process)
        return self._callbacks.pop(process, [])

    def _ended(self, process: ProcessId) -> None:
        for callback in self._forget(process):
            callback(process)

    def _poll_later(self) -> None:
        if self._timer is None and self._polled:
            self._timer = asyncio.get_running_loop().call_later(POLL, self._poll)

    def _poll(self) -> None:
        self._timer = None
        for process in [p for p in self._polled if _has_ended(p)]:
            self._ended(process)
        self._poll_later()


def _has_ended(process: ProcessId) -> bool:
    """Whether the process is known to have ended; one that cannot be read at the moment has not."""
    try:
        return not is_alive(process)
    except OSError:
        return False
