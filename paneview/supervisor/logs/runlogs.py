"""The supervisor's part in the logs of runs: which output belongs to which task, and that no pipe stays broken.

A pane whose pipe is lost (its writer was killed) gets another one; what tmux read in between is not in the log, so an
event records the gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from paneview.config.models import Task
from paneview.store import spool
from paneview.store.ingest import LogIngest
from paneview.store.limits import LogLimits, TextFile
from paneview.supervisor.journal import Journal
from paneview.supervisor.places import RunPlaces
from paneview.supervisor.terminal import Terminal
from paneview.tmux.errors import TmuxError
from paneview.tmux.session import TmuxSession
from paneview.tmux.spawn import PaneInfo

logger = logging.getLogger(__name__)

LOOK_EVERY = 5.0  # seconds between two looks at the pipes
UNHURRIED = 0.25  # seconds before a writer with nothing left to read is ended: the next start comes first

Heads = Callable[[Mapping[str, int]], None]


class RunLogs:
    """Tells the ingest which run belongs to which task, and looks after the pipes."""

    def __init__(self, ingest: LogIngest, terminal: Terminal, journal: Journal, places: RunPlaces) -> None:
        self._ingest = ingest
        self._terminal = terminal
        self._journal = journal
        self._places = places
        self._attached: dict[int, str] = {}
        self._early: set[int] | None = set()  # runs attached before `recover`, which is called once
        self._endings: set[asyncio.Task[None]] = set()
        self._drained: list[int] = []  # runs whose writers will be ended next

    def start(self, heads: Heads) -> None:
        """Begin to ingest; ``heads`` is called on the event loop with the ends of logs that grew. Raises StoreError."""
        loop = asyncio.get_running_loop()

        def tell(ends: Mapping[str, int]) -> None:
            loop.call_soon_threadsafe(heads, ends)

        self._ingest.on_progress(tell)
        if moved := self._ingest.start():
            self._journal.note("store_damaged", f"logs.db was damaged and set aside as {moved}")
        # Only its log knows of a run whose start failed; another task's output would go there.
        self._journal.skip_runs(self._ingest.last_run)

    def keep(self, tasks: Iterable[Task]) -> None:
        """Keep the logs of these tasks within their limits, whether they run again or not."""
        for task in tasks:
            self._ingest.set_limits(task.name, limits_of(task))

    def recover(self, runs: Mapping[int, str], panes: Iterable[PaneInfo]) -> None:
        """Ingest what the spool still holds of runs that ended while no supervisor read it (run → task)."""
        early, self._early = self._early or set(), None
        self._ingest.recover({run: task for run, task in runs.items() if run not in early})
        for pane in panes:
            if pane.dead and pane.run not in early:
                self._end_writer_later(pane.run)

    def announce(self, run: int, task: Task) -> None:
        """Assign the output of a run that is about to begin to ``task``."""
        self._know(run, task)
        self._ingest.announce(run, task.name, limits_of(task))

    def attach(self, run: int, task: Task) -> None:
        """Assign the output of this run, past and future, to ``task``."""
        self._know(run, task)
        self._ingest.attach(run, task.name, limits_of(task))

    def attach_stray(self, run: int, task: str) -> None:
        """Assign the output of this run, until it is ended, to a task that the project no longer has."""
        self._note_early(run)
        self._ingest.attach(run, task)

    def finish(self, run: int) -> None:
        """Note that the run is over; its writer is ended and its spool removed once all of it is ingested."""
        self._attached.pop(run, None)
        self._ingest.finish(run)
        self._end_writer_later(run)

    async def close(self) -> None:
        """Stop, without waiting for what is still to be ingested."""
        for ending in self._endings:
            ending.cancel()
        await asyncio.gather(*self._endings, return_exceptions=True)
        await asyncio.to_thread(self._ingest.stop)

    async def keep_pipes(self) -> None:
        """Look after the pipes for ever."""
        first, unwritten = True, set[int]()
        while True:
            try:
                session = await self._terminal.ready()
                panes = [
                    pane for pane in await session.panes() if pane.run in self._attached and not pane.dead
                ]
                # Only at first, for files removed while no supervisor ran: this looks at all processes.
                lost = self._writing_nowhere(session, panes) if first else set()
                first = False
                # Only if seen twice, because a writer that has just started may not be visible yet.
                before, unwritten = unwritten, self._unwritten(session, panes)
                lost |= before & unwritten
                for pane in panes:
                    if not pane.piped or pane.run in lost:
                        await self._mend(session, pane)
            except TmuxError as error:
                logger.warning("the panes' pipes cannot be looked at: %s", error)
            await asyncio.sleep(LOOK_EVERY)

    def _writing_nowhere(self, session: TmuxSession, panes: Iterable[PaneInfo]) -> set[int]:
        """The runs whose output goes to a file that was removed."""
        known = spool.files(self._places.spool)
        runs = {self._places.spool_prefix(pane.run): pane.run for pane in panes if pane.run not in known}
        return {runs[prefix] for prefix in session.writers.writing_nowhere(runs)} if runs else set()

    def _unwritten(self, session: TmuxSession, panes: Iterable[PaneInfo]) -> set[int]:
        """The runs whose output no process writes to the spool."""
        runs = {self._places.spool_prefix(pane.run): pane.run for pane in panes}
        return {runs[prefix] for prefix in session.writers.missing(runs)} if runs else set()

    def _know(self, run: int, task: Task) -> None:
        self._attached[run] = task.name
        self._note_early(run)

    def _note_early(self, run: int) -> None:
        if self._early is not None:
            self._early.add(run)

    def _end_writer_later(self, run: int) -> None:
        ending = asyncio.get_running_loop().create_task(self._end_writer(run))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _end_writer(self, run: int) -> None:
        await asyncio.wrap_future(self._ingest.drained(run))
        self._drained.append(run)
        if len(self._drained) > 1:
            return  # the first call handles all: fifty tasks that end together cost one look
        await asyncio.sleep(UNHURRIED)
        session = await self._terminal.ready()
        drained, self._drained = self._drained, []
        session.writers.end([self._places.spool_prefix(one) for one in drained])

    async def _mend(self, session: TmuxSession, pane: PaneInfo) -> None:
        attach = spool.next_attach(self._places.spool, pane.run)
        await session.attach_pipe(pane.pane_id, spool.prefix(self._places.spool, pane.run, attach))
        self._journal.note_task(
            pane.task, pane.run, "log_gap", "what the pane's output went to is gone; lines are missing here"
        )


def limits_of(task: Task) -> LogLimits:
    """How much of a task's log to keep."""
    text = None
    if task.log_file:
        text = TextFile(task.log_file, task.log_max_size, task.log_max_files, task.cwd)
    return LogLimits(task.log_max_size * task.log_max_files, task.log_max_age, text)
