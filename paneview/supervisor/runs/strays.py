"""Runs that belong to no task: theirs left the file while no supervisor was running, or its state was lost.

They are ended like in a stop: the stop signal, SIGTERM, SIGKILL, with the grace periods they were launched with. A
database may take long to end, so this goes on in the background; a new run of the same name waits for it, and so does
`down`. A supervisor that ends meanwhile leaves the rest to the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from msgspec.structs import replace

from paneview.rules.restart import Exit
from paneview.rules.states import Policy, Stage
from paneview.rules.stopping import KILL_AGAIN, MAX_TERM_GRACE
from paneview.store.rows import RunRow
from paneview.supervisor.clock import Clock
from paneview.supervisor.journal import Journal
from paneview.supervisor.logs.runlogs import RunLogs
from paneview.supervisor.runs.ending import Ender, names_of
from paneview.supervisor.runs.launching import Launcher
from paneview.supervisor.runs.live import Live
from paneview.supervisor.runs.origin import Origin
from paneview.supervisor.terminal import Terminal
from paneview.tmux.errors import TmuxError
from paneview.tmux.spawn import PaneInfo

logger = logging.getLogger(__name__)

ANY = ""  # the task of a run that nothing was recorded of
CAUSE = "no task accounts for this pane"
# For runs launched before stop settings were stored.
UNKNOWN = Origin("", "", "SIGINT", Policy().stop_grace)


class Strays:
    """Ends stray runs, and knows which are being ended."""

    def __init__(
        self,
        clock: Clock,
        terminal: Terminal,
        launcher: Launcher,
        ender: Ender,
        journal: Journal,
        logs: RunLogs,
    ) -> None:
        self._clock = clock
        self._terminal = terminal
        self._launcher = launcher
        self._ender = ender
        self._journal = journal
        self._logs = logs
        self._ending: dict[asyncio.Task[None], str] = {}

    def end(self, pane: PaneInfo, row: RunRow | None) -> None:
        """Begin to end the run in this pane; of a dead pane, whatever is left."""
        self._begin(pane.task, self._end(pane, row))
        if not pane.dead:
            self._logs.attach_stray(pane.run, pane.task)

    def end_lost(self, live: Live, row: RunRow | None, how: str) -> None:
        """Begin to end whatever is left of a run that has lost its pane; ``how`` that came about."""
        self._begin(row.task if row else ANY, self._end_lost(live, row, how))

    async def gone(self, task: str | None = None) -> None:
        """Wait until nothing is left of the strays of this task, or of any."""
        if ending := [one for one, name in self._ending.items() if task in (None, name) or name == ANY]:
            await asyncio.wait(ending)

    async def close(self) -> None:
        """Stop ending them, and leave the rest as it is."""
        ending = list(self._ending)
        for one in ending:
            one.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _begin(self, task: str, end: Coroutine[Any, Any, None]) -> None:
        ending = asyncio.get_running_loop().create_task(end)
        self._ending[ending] = task
        ending.add_done_callback(self._ended)

    def _ended(self, ending: asyncio.Task[None]) -> None:
        name = self._ending.pop(ending)
        if not ending.cancelled() and (error := ending.exception()):
            logger.error("%s: a stray could not be ended", name, exc_info=error)
            self._journal.note_task(name, None, "internal_error", repr(error))

    async def _end(self, pane: PaneInfo, row: RunRow | None) -> None:
        live = self._launcher.live_in(pane.run, pane)
        names = await self._ender.sweep(live) if pane.dead else await self._stop(live, pane)
        try:
            if not pane.dead:
                exit_ = await self._ender.any_exit_of(live)
                self._logs.finish(pane.run)
                if row is not None:
                    self._record(row, exit_, CAUSE)
            session = await self._terminal.ready()
            await session.remove_pane(pane.pane_id)
        except TmuxError as error:
            logger.warning("%s: its window went by itself: %s", pane.task, error)
        self._terminal.forget_pane(pane.pane_id)
        if names:
            self._journal.note_task(
                pane.task, pane.run, "stray_ended", CAUSE, processes=names, known=row is not None
            )

    async def _end_lost(self, live: Live, row: RunRow | None, how: str) -> None:
        exit_ = await self._ender.written_exit(live)  # first, because it is cleared away soon
        names = await self._ender.sweep(live)
        if row is None:
            self._journal.note("stray_ended", how, processes=names, known=False)
            return
        if names:
            self._journal.note_task(row.task, row.id, "stray_ended", how, processes=names, known=True)
        self._record(row, exit_, how)

    def _record(self, row: RunRow, exit_: Exit, why: str) -> None:
        now = self._clock.wall()
        self._journal.put(
            run=replace(row, ended_at=now, exit_code=exit_.code, signal=exit_.signal, end_reason=why)
        )

    async def _stop(self, live: Live, pane: PaneInfo) -> list[str]:
        """Stop the run as the life cycle would; returns its processes as ``pid name``."""
        origin = Origin.read(pane.definition) or UNKNOWN
        names = names_of(await self._ender.look(live))
        self._journal.note_task(pane.task, pane.run, "task_stopping", CAUSE)
        grace = origin.stop_grace
        for stage, patience in ((Stage.INTERRUPT, grace), (Stage.TERMINATE, min(grace, MAX_TERM_GRACE))):
            await self._ender.send(live, stage, origin.stop_signal)
            if await self._ender.wait_gone(live, patience):
                return names
        await self._ender.send(live, Stage.KILL, origin.stop_signal)
        while not await self._ender.wait_gone(live, KILL_AGAIN):
            await self._ender.send(live, Stage.KILL, origin.stop_signal)
        return names
