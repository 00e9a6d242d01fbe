"""A broker for event loops: runs each blocking call on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from paneview.broker.interface import Broker

P = ParamSpec("P")
T = TypeVar("T")


class AsyncBroker:
    """``await queue(queue.broker.submit, job)``: works for any method of the broker or its parts.

    Each wait occupies one of ``threads`` threads. Closing ends the waits and closes the broker.
    """

    def __init__(self, broker: Broker, threads: int) -> None:
        self.broker = broker
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="broker")

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call on a thread. Raises whatever the call raises."""
        return await asyncio.wrap_future(self._threads.submit(function, *args, **kwargs))

    async def close(self) -> None:
        """End the waits and close the broker."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._close)

    def _close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.broker.wake(for_good=True)
        self._threads.shutdown(wait=True)
        self.broker.close()
