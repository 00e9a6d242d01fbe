"""Those who wait until a task has come to some state: asked again after every change, and told which state it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from paneview.rules.states import TaskState

Settled = Callable[[], bool]


class Waiters:
    """Those who wait for one task; ``state`` gives its present state."""

    def __init__(self, state: Callable[[], TaskState]) -> None:
        self._state = state
        self._waiting: list[tuple[Settled, asyncio.Future[TaskState]]] = []

    async def until(self, settled: Settled) -> TaskState:
        """Wait until ``settled`` holds, and give the state in which it did."""
        if settled():
            return self._state()
        future: asyncio.Future[TaskState] = asyncio.get_running_loop().create_future()
        self._waiting.append((settled, future))
        return await future

    def wake(self) -> None:
        """Something has changed: ask again."""
        waiting, self._waiting = self._waiting, []
        for settled, future in waiting:
            if future.done():
                continue
            if settled():
                future.set_result(self._state())
            else:
                self._waiting.append((settled, future))
