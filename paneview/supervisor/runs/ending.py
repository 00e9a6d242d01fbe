"""Ending runs: the right signal to the right processes, and knowing when nothing is left.

SIGINT goes to the terminal's foreground group, as Ctrl-C does; SIGTERM and SIGKILL go to everything that belongs to
the run: the tree under its pane, the pane's session, all processes with the run's environment marker, and those that
were seen in the tree before.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from paneview import proc
from paneview.proc import ProcessId, ProcessTable
from paneview.proc.gone import wait_gone  # now: loading it later would need a descriptor
from paneview.rules.restart import Exit
from paneview.rules.states import Stage
from paneview.supervisor.runs.live import Live
from paneview.supervisor.terminal import Terminal
from paneview.tmux.errors import TmuxGone
from paneview.tmux.guard import HELPER, ExitStatus, read_exit_file
from paneview.tmux.session import TmuxSession

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

AGAIN = 1.0  # seconds
DYING = 0.001  # seconds before the first look: a process that was just signalled is gone by then
# Seconds within which processes that die with a run are not left-overs; after each step the guard's helper is killed.
STEPS = (0.004, 0.01, 0.036)
BIRTH = (0.02, 0.1)  # seconds from a fork to its exec: two looks, because a busy machine may delay it
# Seconds between interrupts of a run whose command has not been started yet.
UNHEARD = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SWEEP_GRACE = 0.5  # seconds that left-overs of a run which ended by itself get after SIGTERM
# Seconds before the left-overs of an ended run are looked for again after a defect got in the way.
TRIES = (0.5, 2.0)
LONGEST_TRY = 60.0  # as TRIES, of a run that is being ended: it takes no other end


def _patient(deed: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Retry ``deed`` as long as descriptors or memory are short: the end of a run must never go unreported."""

    @wraps(deed)
    async def again(*args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return await deed(*args, **kwargs)
            except OSError as error:
                if error.errno not in proc.SCARCE:
                    raise
                logger.warning("the end of a run waits: %s", error)
            await asyncio.sleep(AGAIN)

    return again


class Ender:
    """Signals runs and waits for their end. ``tell`` is called with what goes wrong; the run ends all the same."""

    def __init__(self, terminal: Terminal, tell: Callable[[str], object]) -> None:
        self._terminal = terminal
        self._tell = tell
        self._watch = proc.ExitWatch()
        self._callbacks: dict[int, Callable[[ProcessId], object]] = {}

    def watch(self, live: Live, gone: Callable[[], object]) -> None:
        """Call ``gone`` once, from the event loop, when the run's first process has died."""
        if live.root is None:
            asyncio.get_running_loop().call_soon(gone)
            return
        callback = self._callbacks[live.run] = lambda _: gone()
        self._watch.watch(live.root, callback)

    def unwatch(self, live: Live) -> None:
        """Stop watching the run's first process."""
        callback = self._callbacks.pop(live.run, None)
        if live.root and callback:
            self._watch.unwatch(live.root, callback)

    async def look(self, live: Live) -> set[ProcessId]:
        """Every process of the run that is alive now."""
        return members(live, await ProcessTable.fresh())

    async def send(self, live: Live, stage: Stage, stop_signal: str) -> None:
        """Send the signal of this stage of a stop. Whatever goes wrong, the next stage is due all the same."""
        try:
            await self._send(live, stage, stop_signal)
        except Exception as error:
            if self._tell_once(live, f"signals to run {live.run}: {error!r}"):
                logger.exception("run %s: it was sent nothing", live.run)

    @_patient
    async def _send(self, live: Live, stage: Stage, stop_signal: str) -> None:
        match stage:
            case Stage.INTERRUPT:
                left = await self.look(live)  # seen now, they are found later even if they leave the tree
                if live.root is None or not await self._interrupt(live, live.root, stop_signal):
                    proc.send(getattr(signal, stop_signal), _downwards(live, left))
                proc.send(signal.SIGCONT, _paused(left))
            case Stage.TERMINATE:
                proc.send(signal.SIGTERM, _downwards(live, await self.look(live)))
            case Stage.KILL:
                proc.send(signal.SIGKILL, _downwards(live, await self.look(live)))
            case _:
                pass

    async def _interrupt(self, live: Live, root: ProcessId, stop_signal: str) -> bool:
        """Signal the foreground group, repeatedly until a program is there to get it; False if there is no group.

        The guard's shells survive a signal that comes before they have started the command, and forget it.
        """
        for pause in (0.0, *UNHEARD):
            if pause:
                await asyncio.sleep(pause)
            live.heard = live.hears()  # before it is sent: a program that starts after it does not get it
            if not proc.interrupt(root, getattr(signal, stop_signal)):
                return pause > 0
            if live.heard:
                break
        return True

    @_patient
    async def wait_gone(self, live: Live, within: float | None = None) -> bool:
        """Wait until no process of the run is left; False after ``within`` seconds."""
        return await wait_gone(partial(members, live), within, self._watch)

    async def gone(self, live: Live) -> None:
        """`wait_gone` for a run that is being ended; retried after a defect, less and less often."""
        pause = AGAIN
        while True:
            try:
                await self.wait_gone(live)
            except Exception as error:
                if self._tell_once(live, f"the end of run {live.run}: {error!r}"):
                    logger.exception("run %s: what is left of it is not known", live.run)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_TRY)

    def _tell_once(self, live: Live, words: str) -> bool:
        """Report a problem with the run's end; False if it has been reported before."""
        new = words not in live.told
        if new:
            live.told.add(words)
            self._tell(words)
        return new

    @_patient
    async def sweep(self, live: Live) -> list[str]:
        """End what a run that ended by itself left behind; returns the left-overs as ``pid name``."""
        await asyncio.sleep(DYING)
        if not await self.look(live) or await self._dies(live):
            return []
        left = await self.look(live)
        names = names_of(left)
        proc.send(signal.SIGTERM, left)
        while not await self.wait_gone(live, SWEEP_GRACE):
            proc.send(signal.SIGKILL, await self.look(live))
        return names

    async def _dies(self, live: Live) -> bool:
        """Whether all that is left of an ended run exits within `STEPS`, with the guard's helper killed if need be."""
        for pause in STEPS:
            if await self.wait_gone(live, pause):
                return True
            left = await self.look(live)
            proc.send(signal.SIGKILL, [one for one in left if tuple(proc.command_line(one.pid)) == HELPER])
        return not await self.look(live)

    async def sweep_unborn(self, live: Live) -> None:
        """End what tmux may have been starting as it died; a process has its marker from its exec on, not its fork."""
        for pause in BIRTH:
            await asyncio.sleep(pause)
            await self.sweep(live)

    @_patient
    async def exit_of(self, live: Live) -> Exit:
        """How the run's command ended, according to tmux or the guard. Raises TmuxGone if the run's server is gone.

        A new server may be there by then, but doesn't know the run, and a command ended by the hang-up may report any
        code.
        """
        session = self._terminal.session
        return _unless_lost(live, session, await self._status(live, session))

    async def any_exit_of(self, live: Live) -> Exit:
        """The same for a run that had to end; with tmux gone, what its guard could record."""
        try:
            return await self.exit_of(live)
        except TmuxGone:
            return await self.written_exit(live)

    @_patient
    async def end_of(self, live: Live) -> tuple[list[str], Exit]:
        """`sweep` and `exit_of` together, for a run that ended by itself."""
        session = self._terminal.session
        early = asyncio.create_task(self._status(live, session))
        try:
            left = await self._swept(live)
            # Left-overs may have held the terminal open, for whose end the early request waits in ever longer steps.
            status = await (self._status(live, session) if left else early)
        finally:
            early.cancel()
        return left, _unless_lost(live, session, status)

    async def _swept(self, live: Live) -> list[str]:
        """`sweep`, tried again a few times after a defect."""
        for pause in TRIES:
            try:
                return await self.sweep(live)
            except Exception as error:
                logger.exception("run %s: what is left of it is not known", live.run)
                self._tell(f"what is left of run {live.run}: {error!r}")
            await asyncio.sleep(pause)
        return []

    async def _status(self, live: Live, session: TmuxSession) -> ExitStatus | None:
        """The exit status; None if it cannot be known."""
        if live.lost:
            return None
        try:
            return await session.exit_status(live.pane_id, live.exit_file)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in proc.SCARCE:
                raise
            logger.exception("run %s: its exit is not known", live.run)
            self._tell(f"the exit of run {live.run}: {error!r}")
            return None

    @_patient
    async def written_exit(self, live: Live) -> Exit:
        """The exit that the guard wrote, the only source once tmux is gone."""
        try:
            return to_exit(read_exit_file(live.exit_file))
        except OSError as error:
            if error.errno in proc.SCARCE:
                raise
            self._tell(f"the exit of run {live.run}: {error}")
            return Exit()


def members(live: Live, table: ProcessTable) -> set[ProcessId]:
    """Every process of the run that was alive when the table was made."""
    found = table.members(live.root, live.marker, live.root.pid if live.root else None, live.known)
    live.known |= found
    return found


def _unless_lost(live: Live, session: TmuxSession, status: ExitStatus | None) -> Exit:
    if session.gone or live.lost:
        raise TmuxGone(session.gone or "it went with its terminal")
    return to_exit(status)


def _downwards(live: Live, left: set[ProcessId]) -> list[ProcessId]:
    """The order in which to signal: parents first, and the terminal's leader last.

    A shell whose child ends first goes on with the next part of its command, and may exit with 0. The leader's death
    sends a hang-up to all others, which would then be reported as the signal that killed them.
    """
    return sorted(left, key=lambda one: (one == live.root, one.start, one.pid))


def _paused(left: set[ProcessId]) -> list[ProcessId]:
    """Those that a SIGSTOP holds: no other signal reaches them before they go on."""
    table = ProcessTable.recent()
    return [one for one in left if (row := table.get(one)) and row.state == "T"]


def names_of(left: set[ProcessId]) -> list[str]:
    """The processes for an event, each as ``pid name``, without the guard's own helper."""
    rows = ProcessTable.recent().rows
    return [
        f"{one.pid} {rows[one.pid].name if one.pid in rows else '?'}"
        for one in sorted(left)
        if tuple(proc.command_line(one.pid)) != HELPER
    ]


def to_exit(status: ExitStatus | None) -> Exit:
    """A status from tmux or the guard as the rules' `Exit`."""
    return Exit(status.code, status.signal) if status else Exit()
