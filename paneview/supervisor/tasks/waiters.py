"""Waiting until a task has reached some state: the condition is checked after every change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from paneview.rules.states import TaskState

Settled = Callable[[], bool]


class Waiters:
    """The waiters for one task; ``state`` returns its present state."""

    def __init__(self, state: Callable[[], TaskState]) -> None:
        self._state = state
        self._waiting: list[tuple[Settled, asyncio.Future[TaskState]]] = []

    async def until(self, settled: Settled) -> TaskState:
        """Wait until ``settled`` holds; returns the state in which it did."""
        if settled():
            return self._state()
        future: asyncio.Future[TaskState] = asyncio.get_running_loop().create_future()
        self._waiting.append((settled, future))
        return await future

    def wake(self) -> None:
        """Check all conditions again, because something has changed."""
        waiting, self._waiting = self._waiting, []
        for settled, future in waiting:
            if future.done():
                continue
            if settled():
                future.set_result(self._state())
            else:
                self._waiting.append((settled, future))
