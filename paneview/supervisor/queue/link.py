"""The supervisor's connection to the queue for clients' requests: opened at the first one, and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from paneview.broker import UnavailableError
from paneview.broker.facade import AsyncBroker
from paneview.supervisor.background import unasked
from paneview.worker.joining import connect

if TYPE_CHECKING:
    from paneview.broker import Broker
    from paneview.config.queue import QueueSettings

T = TypeVar("T")
THREADS = 6
MOVED = "the queue's settings have just changed: ask again"


class QueueLink:
    """The shared connection. ``moved`` is called whenever it is given up, or about to be opened with new settings."""

    def __init__(self, folder: Path, moved: Callable[[], object]) -> None:
        self._folder = folder
        self._moved = moved
        self._settings: QueueSettings | None = None
        self._queue: AsyncBroker | None = None
        self._opening: asyncio.Task[AsyncBroker] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def open(self, wanted: QueueSettings) -> AsyncBroker:
        """The queue with these settings; concurrent callers share one attempt to connect. Raises BrokerError."""
        if self._settings != wanted:
            self._let_go()
            self._settings = wanted
        if self._queue is not None:
            return self._queue
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._connect(wanted))
            self._opening.add_done_callback(unasked)
        return await asyncio.shield(self._opening)

    async def call(self, wanted: QueueSettings, act: Callable[[Broker], T]) -> T:
        """Call ``act`` with the queue on a thread. Raises BrokerError."""
        queue = await self.open(wanted)
        try:
            return await queue(act, queue.broker)
        except (RuntimeError, asyncio.CancelledError):
            caller = asyncio.current_task()
            if self._queue is queue or (caller is not None and caller.cancelling()):
                raise
            raise UnavailableError(MOVED) from None  # its threads were ended during the call

    async def close(self) -> None:
        """Give the connection back."""
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        self._let_go()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _connect(self, settings: QueueSettings) -> AsyncBroker:
        me = asyncio.current_task()
        try:
            made = AsyncBroker(await asyncio.to_thread(connect, settings, self._folder), THREADS)
        finally:
            wanted = self._opening is me
            if wanted:
                self._opening = None
        if not wanted:  # the file has changed meanwhile
            await made.close()
            raise UnavailableError(MOVED)
        self._queue = made
        return made

    def _let_go(self) -> None:
        if self._queue is not None:
            closing = asyncio.get_running_loop().create_task(self._queue.close())
            self._leaving.add(closing)
            closing.add_done_callback(self._leaving.discard)
        self._queue, self._opening = None, None
        self._moved()
