"""Accepts the clients of a listening socket, even when no file descriptor is left.

A few descriptors are held in reserve for clients: a process that has run out of open files most needs someone to look
and to stop things. When the reserve is used up as well, the next client waits in the kernel until another one leaves.

asyncio's own servers do worse than wait. For one client that cannot be accepted they try as often as their backlog is
long, and start a timer for each try, which does the same: soon the loop does nothing else
(`asyncio.selector_events`, ``_accept_connection``, as of Python 3.11).
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

RESERVE = 4  # clients that are served when no descriptor is left
RETRY = 1.0  # seconds until the next try, if no client leaves
AT_ONCE = 100  # clients accepted before the loop can do something else

logger = logging.getLogger(__name__)


class Acceptor:
    """Runs `serve` with the streams of each client of `listener`, from now on until `close`.

    `listener` must not block, and belongs to the acceptor. A client's connection ends when its `serve` does.
    """

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> None:
        self._listener = listener
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._clients: set[asyncio.Task[None]] = set()
        self._reserve: list[int] = []
        self._retry: asyncio.TimerHandle | None = None
        self._told = False  # whether it has been logged that new clients must wait
        self._closed = False
        self._refill()
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Stop accepting; clients accepted before are still served."""
        self._closed = True
        self._pause()
        self._listener.close()
        while self._reserve:
            os.close(self._reserve.pop())

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                self._refill()
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if self._reserve:
                    os.close(self._reserve.pop())
                    continue
                self._wait(error)
                return
            self._told = False
            task = self._loop.create_task(self._run(connection))
            self._clients.add(task)
            task.add_done_callback(self._left)

    async def _run(self, connection: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, connection)
        try:
            await self._serve(reader, asyncio.StreamWriter(transport, protocol, reader, self._loop))
        finally:
            transport.close()

    def _left(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("serving a client failed", exc_info=error)
        if self._closed:
            return
        if self._retry:
            self._resume()
        else:
            self._refill()

    def _wait(self, error: OSError) -> None:
        if not self._told:
            logger.warning("new clients have to wait: %s", error.strerror)
            self._told = True
        self._pause()
        self._retry = self._loop.call_later(RETRY, self._resume)

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener)
        if self._retry:
            self._retry.cancel()
            self._retry = None

    def _resume(self) -> None:
        self._pause()
        self._loop.add_reader(self._listener, self._accept)

    def _refill(self) -> None:
        with suppress(OSError):  # a client that leaves gives one back
            while len(self._reserve) < RESERVE:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
