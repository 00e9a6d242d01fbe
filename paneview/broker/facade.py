"""A broker for event loops: runs each blocking call on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, TypeVar

from paneview.broker.errors import BrokerError
from paneview.broker.interface import Broker
from paneview.broker.model import Claim, Event, Lease

P = ParamSpec("P")
T = TypeVar("T")

WAIT = 5.0  # seconds per blocking wait in `follow`


class AsyncBroker:
    """``await queue(queue.broker.submit, job)``: works for any method of the broker or its parts.

    Each wait occupies one of ``threads`` threads. Closing ends the waits and closes the broker.
    """

    def __init__(self, broker: Broker, *, threads: int = 8) -> None:
        self.broker = broker
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="broker")

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call on a thread. Raises whatever the call raises."""
        return await asyncio.wrap_future(self._threads.submit(function, *args, **kwargs))

    async def claim(self, want: Claim, wait: float = 0.0) -> list[Lease]:
        """`Broker.claim`; if the caller is cancelled meanwhile, the jobs it got are handed back."""
        future = self._threads.submit(self.broker.claim, want, wait)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if not future.cancel():
                future.add_done_callback(lambda done: self._hand_back(done.result()))
            raise

    def _hand_back(self, leases: list[Lease]) -> None:
        for lease in leases:
            with suppress(BrokerError):  # the job will return when its lease runs out
                self.broker.release(lease, reason="nobody waits for it any more")

    async def follow(self, after: str) -> AsyncIterator[Event]:
        """Yield events as they come, from a cursor on, without end."""
        while True:
            page = await self(self.broker.events.wait, after, WAIT)
            after = page.cursor
            for event in page.events:
                yield event

    async def close(self) -> None:
        """End the waits and close the broker."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._close)

    def _close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.broker.wake(for_good=True)
        self._threads.shutdown(wait=True)
        self.broker.close()

    async def __aenter__(self) -> AsyncBroker:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
