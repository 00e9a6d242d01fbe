"""Adopting what an earlier supervisor started: nothing is restarted, nothing is counted twice.

The store knows what should be running, tmux knows what is. Each task is in one of these situations:

===================  ==============================  ========================================================
the store says       tmux says                       then
===================  ==============================  ========================================================
running, stopping    its pane is alive               take charge of it; go on with the stop
starting             a pane of a newer run is there  the spawn had succeeded: it runs, or its stop goes on
starting             nothing newer                   it was never spawned: launch it again, unless it has to stop
running, stopping    its pane is dead                it ended meanwhile: apply its policy to the exit
running, stopping    no pane                         lost with the server or the machine: apply its policy
at rest, waiting     anything                        nothing to adopt; a live pane is a stray, and is ended
nothing              its pane is alive               only the record was lost: the task runs
no such task         a pane                          a stray, too: its task was removed from the file
no such task         no pane                         whatever is left of its last run is ended
nothing              no pane, but a process          it was launched just as both died: it is ended
===================  ==============================  ========================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from msgspec.structs import replace

from paneview import proc
from paneview.proc import ProcessId
from paneview.rules import stopping
from paneview.rules.states import Exited, Lost, Spawned, SpawnFailed, TaskPhase, TaskState
from paneview.store.rows import RunRow
from paneview.supervisor.journal import Journal
from paneview.supervisor.logs.runlogs import RunLogs
from paneview.supervisor.runs.ending import Ender
from paneview.supervisor.runs.launching import Launcher
from paneview.supervisor.runs.live import Live
from paneview.supervisor.runs.strays import Strays
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.tasks.unit import Unit
from paneview.supervisor.terminal import Terminal
from paneview.tmux.spawn import PaneInfo

UNRECORDED = "it was found running, and nothing was recorded of it"


class Adopter:
    """Brings a freshly loaded supervisor up to date with what is running."""

    def __init__(
        self,
        terminal: Terminal,
        launcher: Launcher,
        ender: Ender,
        journal: Journal,
        logs: RunLogs,
        strays: Strays,
    ) -> None:
        self._terminal = terminal
        self._launcher = launcher
        self._ender = ender
        self._journal = journal
        self._logs = logs
        self._strays = strays

    async def adopt(
        self, supervisor: Supervisor, rows: dict[int, RunRow], recorded: Collection[str]
    ) -> list[str]:
        """Adopt what is alive and settle what is not; returns the names of the tasks that were found running.

        ``rows`` are the runs, and ``recorded`` the names of the tasks, that the store knows.
        """
        panes = await self._terminal.session.panes()
        latest = self._latest(panes)
        self._end_forgotten(supervisor, panes, rows)
        alive: list[str] = []
        settling = []
        for name, unit in supervisor.units.items():
            pane = latest.pop(name, None)
            row = rows.get(pane.run) if pane else None
            if pane:
                self._terminal.remember_pane(pane.pane_id, name)
            if being_launched(unit.state) and (pane is None or pane.run <= (unit.state.run or 0)):
                settling.append(self._never_spawned(unit, rows))
                continue
            if pane and name not in recorded and self._is_ours(pane, row):
                unit.state = replace(unit.state, phase=TaskPhase.STARTING, cause=UNRECORDED)
            if not unit.state.phase.active:
                unit.row = rows.get(unit.state.run or -1)
                if pane and not pane.dead:
                    self._strays.end(pane, row)
                continue
            if pane and self._is_ours(pane, row):
                alive.append(name)
                settling.append(self._take(unit, pane, row))
            else:
                settling.append(self._settle(unit, pane, rows))
        await asyncio.gather(*settling)  # only now that all are judged: settling one may start another
        for pane in latest.values():
            self._strays.end(pane, rows.get(pane.run))
        return alive

    def _latest(self, panes: list[PaneInfo]) -> dict[str, PaneInfo]:
        """The pane of each task's newest run. Also reserves the run numbers that are in use."""
        found: dict[str, PaneInfo] = {}
        for pane in panes:
            self._journal.skip_runs(pane.run)
            if pane.task not in found or found[pane.task].run < pane.run:
                found[pane.task] = pane
        return found

    def _end_forgotten(self, supervisor: Supervisor, panes: list[PaneInfo], rows: dict[int, RunRow]) -> None:
        """Begin to end runs without a pane whose task is not in the file any more, or that nothing is recorded of."""
        known = {pane.run for pane in panes} | {unit.state.run for unit in supervisor.units.values()}
        for row in rows.values():
            if row.ended_at is None and row.id not in known:
                self._strays.end_lost(self._gone(row.id, row), row, self._how_lost(row))
        for run in self._launcher.alive() - known - rows.keys():
            self._journal.skip_runs(run)
            self._strays.end_lost(self._gone(run, None), None, UNRECORDED)

    def _is_ours(self, pane: PaneInfo, row: RunRow | None) -> bool:
        """Whether the pane's process is alive and the one that was started."""
        if pane.dead or not pane.pid:
            return False
        root = proc.identify(pane.pid)
        if root is None:
            return False
        known = row is not None and row.boot_id == proc.boot_id() and row.pid == root.pid
        return not known or (row is not None and row.start_ticks == root.start)

    async def _take(self, unit: Unit, pane: PaneInfo, row: RunRow | None) -> None:
        live = self._launcher.live_in(pane.run, pane)
        began = proc.started_at(live.root) if live.root else None
        row = row or self._launcher.row(unit.name, live, began)
        if row.pid is None and live.root:
            row = replace(row, pid=live.root.pid, start_ticks=live.root.start)
        unit.adopt(live, row)
        if being_launched(unit.state):
            unit.feed(Spawned(pane.run), row)
        else:
            self._journal.note_task(
                unit.name, pane.run, "task_adopted", f"pid {pane.pid} was alive", pid=pane.pid
            )
            unit.resume_stop()

    async def _never_spawned(self, unit: Unit, rows: dict[int, RunRow]) -> None:
        unit.row = rows.get(unit.state.run or -1)
        if unit.state.phase is TaskPhase.STARTING:
            unit.state = replace(unit.state, phase=TaskPhase.WAITING)
        else:
            unit.feed(SpawnFailed("it was to stop", withdrawn=True))

    async def _settle(self, unit: Unit, pane: PaneInfo | None, rows: dict[int, RunRow]) -> None:
        """Settle a run that ended, or was lost, while no supervisor watched."""
        launching = being_launched(unit.state)
        run = pane.run if pane and launching else unit.state.run or 0
        row = unit.row = rows.get(run)
        ended = pane is not None and pane.run == run
        live = self._launcher.live_in(run, pane) if pane is not None and ended else self._gone(run, row)
        if launching:
            unit.adopt(live, row or self._launcher.row(unit.name, live))
            unit.feed(Spawned(run), unit.row)  # that its first process is gone is noticed next
            return
        self._logs.attach(run, unit.task)
        await self._ender.sweep(live)
        if ended:
            exit_ = await self._ender.exit_of(live)
            self._logs.finish(run)
            unit.feed(Exited(exit_))
        else:
            exit_ = await self._ender.written_exit(live)
            self._logs.finish(run)
            unit.feed(Lost(self._how_lost(row), exit_))

    def _gone(self, run: int, row: RunRow | None) -> Live:
        same_boot = row is not None and row.boot_id == proc.boot_id()
        root = None
        if row is not None and same_boot and row.pid and row.start_ticks is not None:
            root = ProcessId(row.pid, row.start_ticks)
        pane_id, window_id = (row.pane_id or "", row.window_id or "") if row else ("", "")
        return self._launcher.live_of(run, pane_id, window_id, root if root and proc.is_alive(root) else None)

    def _how_lost(self, row: RunRow | None) -> str:
        if row is not None and row.boot_id and row.boot_id != proc.boot_id():
            return "the machine was restarted"
        server = self._terminal.session.server_id
        if row is not None and (row.tmux_pid, row.tmux_start) != (server.pid, server.start):
            return "the tmux server had ended"
        return "its tmux window was closed"


def being_launched(state: TaskState) -> bool:
    """Whether a launch was under way with no answer recorded, even if a stop was requested meanwhile."""
    return state.phase is TaskPhase.STARTING or stopping.before_launch(state)
