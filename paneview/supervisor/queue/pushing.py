"""Pushes the state of the queue to clients as it changes: one look for all of them, none while no one is subscribed.

The queue itself wakes us when something happens in it, on whichever host. Then, and every few seconds for what changes
without an event (heartbeats grow older), one overview is made and sent to all subscribers, unless it equals the last.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from paneview.broker import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paneview.control.audience import Audience
    from paneview.supervisor.queue.desk import QueueDesk

TOPIC = "queue"
LOOK = 2.0  # seconds between two looks, if nothing happens
GAP = 0.15  # seconds between two pushes at least
PAUSE = 1.0  # seconds after a call that failed
DEATHS = frozenset({"job_dead", "job_lost", "job_expired", "dead_retried", "dead_purged"})

logger = logging.getLogger(__name__)


class QueuePushes:
    """Pushes what a desk knows of the queue, as long as a client is subscribed."""

    def __init__(self, desk: QueueDesk, audience: Audience) -> None:
        self._desk = desk
        self._audience = audience
        self._pushing: asyncio.Task[None] | None = None
        self._told: Mapping[str, Any] | None = None

    def heard(self, topics: frozenset[str]) -> None:
        """Note that a client has subscribed to these topics."""
        if TOPIC in topics:
            self._told = None
        if TOPIC in topics and (self._pushing is None or self._pushing.done()):
            self._pushing = asyncio.get_running_loop().create_task(self._push())

    async def close(self) -> None:
        """Stop pushing."""
        if self._pushing is not None:
            self._pushing.cancel()
            await asyncio.gather(self._pushing, return_exceptions=True)

    async def _push(self) -> None:
        while self._audience.subscribers(TOPIC):
            try:
                await self._turn()
            except BrokerError as error:
                self._tell(self._desk.troubled(str(error)))
                await asyncio.sleep(PAUSE)
            except Exception as error:  # without this task the queue would stand still on every screen
                problem = f"defect: {error!r}"
                if (self._told or {}).get("problem") != problem:
                    logger.exception("queue: a look at it failed")
                self._tell(self._desk.troubled(problem))
                await asyncio.sleep(PAUSE)

    async def _turn(self) -> None:
        """Publish that there is no queue, or the queue as long as there is one. Raises BrokerError."""
        desk = self._desk
        if not desk.in_use:
            if self._told is None or self._told["in_use"]:
                self._tell(await desk.look())
            await asyncio.sleep(LOOK)
            return
        cursor = await self._newest()
        with desk.cache.watching():
            while desk.in_use and self._audience.subscribers(TOPIC):
                self._tell(await desk.look())
                cursor = await self._change(cursor)
                await asyncio.sleep(GAP)

    async def _change(self, cursor: str) -> str:
        """Wait up to `LOOK` seconds for something to happen in the queue; returns the cursor after it."""
        page = await self._desk.call(lambda broker: broker.events.wait(cursor, LOOK))
        if not page.events:
            return page.cursor
        # It only matters that something happened: events that have piled up are skipped, though one may be a death.
        newest = await self._newest()
        missed = newest != page.cursor
        self._desk.cache.changed(dead=missed or any(event.kind in DEATHS for event in page.events))
        return newest

    def _tell(self, queue: Mapping[str, Any]) -> None:
        if queue != self._told:
            self._told = queue
            self._audience.publish_queue(queue)

    async def _newest(self) -> str:
        page = await self._desk.call(lambda broker: broker.events.tail(1))
        return page.cursor
