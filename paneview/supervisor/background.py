"""Work that goes on beside all else, and that nobody waits for: so what it fails with is told here, or to nobody.

It is logged and told as an event. What is to go on begins anew after a pause, which grows for as long as it fails: a
lack of descriptors passes, and a defect that does not is told once a minute at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from paneview.supervisor.journal import Journal

Work = Callable[[], Awaitable[None]]

logger = logging.getLogger(__name__)

FIRST_PAUSE = 1.0  # seconds, doubling
LONGEST_PAUSE = 60.0


class Background:
    """Starts such work, and ends it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._going: set[asyncio.Task[Any]] = set()

    def once(self, work: Work, what: str) -> None:
        """Do this. ``what`` is its name in what is told."""
        self._start(self._does(work, what))

    def keep(self, work: Work, what: str) -> None:
        """Do this until it returns, however often it fails."""
        self._start(self._keep(work, what))

    async def close(self) -> None:
        """Do nothing of it any more."""
        going = list(self._going)
        for one in going:
            one.cancel()
        await asyncio.gather(*going, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def _keep(self, work: Work, what: str) -> None:
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        began = clock()
        while not await self._does(work, what):
            if clock() - began > LONGEST_PAUSE:  # it had gone well
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause, began = min(2 * pause, LONGEST_PAUSE), clock()

    async def _does(self, work: Work, what: str) -> bool:
        """Whether it went through."""
        try:
            await work()
        except Exception as error:
            logger.exception("%s: failed", what)
            self._journal.note("internal_error", f"{what}: {error!r}")
            return False
        return True


def unasked(deed: asyncio.Future[Any]) -> None:
    """For what nobody may be left to await: asyncio would complain of an error that nobody has seen."""
    if not deed.cancelled():
        deed.exception()
