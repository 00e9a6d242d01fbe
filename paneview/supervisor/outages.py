"""What becomes of runs when the connection to tmux ends.

With the server or the session they are gone, and handled by their policies. Where only the connection has ended, as by
``tmux attach -d`` in our session, which detaches every other client, they go on; what ended by itself meanwhile is told
as at any other time. Which of the two it was is known when there is a connection again. Until then no end of a run is
taken for its own: a command that the hang-up ends may report any code.
"""

from __future__ import annotations

from functools import partial

from paneview.proc import ProcessId
from paneview.supervisor.background import Background
from paneview.supervisor.ending import Ender
from paneview.supervisor.journal import Journal
from paneview.supervisor.live import Live
from paneview.supervisor.supervisor import Supervisor
from paneview.supervisor.terminal import Terminal


class Outages:
    """Loses runs with their terminal, and finds those again whose terminal is still there."""

    def __init__(
        self,
        supervisor: Supervisor,
        terminal: Terminal,
        ender: Ender,
        journal: Journal,
        background: Background,
    ) -> None:
        self._supervisor = supervisor
        self._terminal = terminal
        self._ender = ender
        self._journal = journal
        self._background = background
        self._server: ProcessId | None = None  # that of the connection that has ended
        self._lost: dict[str, Live] = {}

    async def begin(self, reason: str) -> None:
        """The connection has ended."""
        self._journal.note("tmux_lost", reason)
        self._server = self._terminal.session.server_id
        units = self._supervisor.units.items()
        self._lost = {name: unit.live for name, unit in units if unit.live is not None}
        for live in self._lost.values():
            live.lost = True

    async def end(self) -> None:
        """There is another connection."""
        lost, self._lost = self._lost, {}
        for name, live in lost.items():
            unit = self._supervisor.units.get(name)
            if unit is not None and unit.live is live and self._terminal.has_pane(live.pane_id, name):
                unit.keep()
        kept = sum(not live.lost for live in lost.values())
        words = f"{kept} of {len(lost)} running tasks went on" if lost else "no task was running"
        self._journal.note("tmux_restored", words)
        self._supervisor.consider()  # those that wait for what was not lost
        for name, live in lost.items():
            if live.lost:
                self._background.keep(partial(self._settle, name, live), f"ending what is left of {name}")

    async def _settle(self, name: str, live: Live) -> None:
        """A run whose terminal is gone: whatever it exited with, it was not its own doing."""
        await self._ender.sweep(live)
        unit = self._supervisor.units.get(name)
        if unit is not None and unit.live is live:
            same = self._terminal.session.server_id == self._server
            unit.lose("its tmux session was closed" if same else "the tmux server ended")
