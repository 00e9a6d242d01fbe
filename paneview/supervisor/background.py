"""Background work that nothing awaits, so its errors must be reported here or would go unnoticed.

An error is logged and recorded as an event. Work that has to go on is restarted after a pause, which grows as long as
it keeps failing: a lack of descriptors passes, and a defect that does not is reported once a minute at most. So is a
defect in a callback, or in a task that another part of the supervisor began and nobody awaits.
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
    """Starts background work, and ends it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._going: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unawaited)
        self._noted: tuple[str, float] = "", 0.0  # an error, and until when it is not recorded again

    def once(self, work: Work, what: str) -> None:
        """Do this once. ``what`` names it in logs and events."""
        self._start(self._does(work, what))

    def keep(self, work: Work, what: str) -> None:
        """Do this until it returns, however often it fails."""
        self._start(self._keep(work, what))

    async def close(self) -> None:
        """Cancel all of it."""
        going = list(self._going)
        for one in going:
            one.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        self._loop.set_exception_handler(None)

    def _unawaited(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Asyncio's handler of errors that nobody else can handle."""
        loop.default_exception_handler(context)  # logs it
        if context.keys().isdisjoint(("future", "task", "handle")):
            return  # a connection broke
        (last, until), now = self._noted, loop.time()
        if (cause := f"{context['message']}: {context.get('exception')!r}") != last or now >= until:
            self._noted = cause, now + LONGEST_PAUSE
            self._journal.note("internal_error", cause)

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def _keep(self, work: Work, what: str) -> None:
        clock, pause = self._loop.time, FIRST_PAUSE
        began = clock()
        while not await self._does(work, what):
            if clock() - began > LONGEST_PAUSE:  # it had worked for a while
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause, began = min(2 * pause, LONGEST_PAUSE), clock()

    async def _does(self, work: Work, what: str) -> bool:
        """Do the work; returns whether it succeeded."""
        try:
            await work()
        except Exception as error:
            logger.exception("%s: failed", what)
            self._journal.note("internal_error", f"{what}: {error!r}")
            return False
        return True


def unasked(deed: asyncio.Future[Any]) -> None:
    """A done callback for futures that may no longer be awaited: it keeps asyncio from reporting their errors."""
    if not deed.cancelled():
        deed.exception()
