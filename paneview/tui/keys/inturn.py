"""Keys in turn: each goes to the focused widget only after the key before it has taken effect.

Textual decides where a key goes when it arrives, while the one before may still be on its way: a key that a widget does
not use bubbles up to the app, whose bindings open prompts, forms and screens. With "/error" typed or pasted in one go,
the search would get nothing, and keys that come just as it opens would overtake earlier ones. So a key waits until a
callback, sent the same way behind the key before it, has arrived where that key ended up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event

PATIENCE = 0.3  # s to wait for a key that was lost with the widget that had it


class InTurn:
    """A queue before the app's own; ``deliver`` is what the app does with a new key or paste."""

    def __init__(self, app: App[Any], deliver: Callable[[Event], Awaitable[None]]) -> None:
        self._app = app
        self._deliver = deliver
        self._waiting: deque[Event] = deque()
        self._under_way = 0  # the number of the key under way, 0 if there is none
        self._count = 0
        self._late: asyncio.TimerHandle | None = None

    async def take(self, event: Event) -> None:
        """Deliver it now or in its turn. Call it from the app's message loop, where all of this runs."""
        self._waiting.append(event)
        if not self._under_way:
            await self._next()

    async def _next(self) -> None:
        self._count += 1
        number = self._under_way = self._count
        way: list[DOMNode] = list((self._app.focused or self._app.screen).ancestors_with_self)
        await self._deliver(self._waiting.popleft())
        self._late = asyncio.get_running_loop().call_later(PATIENCE, self._app.call_later, self._done, number)
        self._follow(number, way)

    def _follow(self, number: int, way: list[DOMNode]) -> None:
        """Go one widget further up, skipping those that are gone, as the key does."""
        while way:
            node = way.pop(0)
            if node is self._app:
                self._app.call_later(self._arrived, number)
                return
            if node.call_later(self._follow, number, way):
                return

    async def _arrived(self, number: int) -> None:
        screen = self._app.screen
        if screen.focused is None and screen.call_later(self._app.call_later, self._done, number):
            return  # a screen that has just opened sets its focus in its own turn
        await self._done(number)

    async def _done(self, number: int) -> None:
        if number != self._under_way:
            return
        if self._late is not None:
            self._late.cancel()
        self._under_way = 0
        if self._waiting:
            await self._next()
