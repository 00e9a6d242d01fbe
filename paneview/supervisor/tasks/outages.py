"""What becomes of runs when the connection to tmux ends.

If the server or the session has ended, the runs are lost, and their policies apply. If only the connection has, as with
``tmux attach -d`` in our session, which detaches all other clients, they go on; runs that ended by themselves meanwhile
are handled as at any other time. Which of the two happened is known once there is a connection again. Until then, no
run counts as ended by itself: a command that is ended by the hang-up may report any code.
"""

from __future__ import annotations

from functools import partial

from paneview.proc import ProcessId
from paneview.supervisor.background import Background
from paneview.supervisor.journal import Journal
from paneview.supervisor.runs.ending import Ender
from paneview.supervisor.runs.live import Live
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.terminal import Terminal


class Outages:
    """Marks runs as lost with their terminal, and keeps those whose terminal turns out to be still there."""

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
        self._server: ProcessId | None = None  # the server of the connection that has ended
        self._lost: dict[str, Live] = {}

    def begin(self, reason: str) -> None:
        """The connection has ended."""
        self._journal.note("tmux_lost", reason)
        self._server = self._terminal.session.server_id
        units = self._supervisor.units.items()
        self._lost = {name: unit.live for name, unit in units if unit.live is not None}
        for live in self._lost.values():
            live.lost = True

    def end(self) -> None:
        """There is a connection again."""
        lost, self._lost = self._lost, {}
        for name, live in lost.items():
            unit = self._supervisor.units.get(name)
            if unit is not None and unit.live is live and self._terminal.has_pane(live.pane_id, name):
                unit.keep()
        kept = sum(not live.lost for live in lost.values())
        words = f"{kept} of {len(lost)} running tasks went on" if lost else "no task was running"
        self._journal.note("tmux_restored", words)
        self._supervisor.consider()  # tasks may wait for runs that were not lost
        for name, live in lost.items():
            if live.lost:
                self._background.keep(partial(self._settle, name, live), f"ending what is left of {name}")

    async def _settle(self, name: str, live: Live) -> None:
        """Settle a run whose terminal is gone: whatever its exit code, it did not end by itself."""
        await self._ender.sweep(live)
        unit = self._supervisor.units.get(name)
        if unit is not None and unit.live is live:
            same = self._terminal.session.server_id == self._server
            unit.lose("its tmux session was closed" if same else "the tmux server ended")
