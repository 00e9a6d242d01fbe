"""Taking over: what is to be done about the tasks that an earlier supervisor recorded, beside adopting those that run.

A supervisor may have been killed at any moment, and the file may have changed since. So hooks that it was killed at are
ended, tasks that have left the file are forgotten, and runs whose definition is another one now are replaced. In a
session that was taken over, only tasks that are new in the file are started; hence every task is recorded, even one
that has never run. (`paneview.supervisor.takeover.adopting` finds the processes that run.)
"""

from __future__ import annotations

from paneview.rules.states import SUPERVISOR, Restart, Stage, Start, TaskPhase, TaskState
from paneview.store.rows import Loaded
from paneview.store.state import StateStore
from paneview.supervisor.journal import SESSION, Journal
from paneview.supervisor.runs.hooks import Hooks
from paneview.supervisor.takeover.adopting import being_launched
from paneview.supervisor.tasks.policy import policy_of
from paneview.supervisor.tasks.supervisor import Supervisor
from paneview.supervisor.terminal import Terminal


class Takeover:
    """The tasks as an earlier supervisor recorded them. ``is_fresh``: it took its session down, or there was none."""

    def __init__(self, loaded: Loaded, supervisor: Supervisor, journal: Journal) -> None:
        self.session = loaded.tasks.get(SESSION, {})
        self.states = {
            name: TaskState.from_dict(data) for name, data in loaded.tasks.items() if name != SESSION
        }
        self.is_fresh = not self.session.get("open")
        self._supervisor = supervisor
        self._journal = journal

    def load(self, now: float) -> None:
        """Give the tasks that the file still has their states."""
        tasks = self._supervisor.project.tasks
        known = [name for name in tasks if name in self.states]
        self._supervisor.load(
            {name: self.states[name].taken_over(now, policy_of(tasks[name])) for name in known}
        )

    async def end_hooks(self, hooks: Hooks, store: StateStore, terminal: Terminal) -> None:
        """End hooks that the earlier supervisor was killed at, since they run once more."""
        stopping = {state.run or 0 for state in self.states.values() if state.stage is Stage.HOOKS}
        if stopping or any(being_launched(state) for state in self.states.values()):
            ran = {run.id for run in await store.runs(limit=1_000_000)}
            ran |= {pane.run for pane in await terminal.session.panes()}
            await hooks.end_left(ran, stopping)

    async def forget_removed(self) -> None:
        """Forget the tasks that are not in the file any more."""
        for name in self.states:
            if name not in self._supervisor.units:
                await self._journal.recorded(self._journal.forget(name))

    def replace_outdated(self) -> None:
        """Apply changes made to the file while no supervisor was running, as at any other time."""
        for unit in self._supervisor.units.values():
            if unit.state.phase is TaskPhase.RUNNING and unit.outdated(unit.task):
                unit.feed(Restart("file change"))
            unit.store_definition()

    def start(self) -> None:
        """Start what starts by itself in a fresh session; in one taken over, only what the file has gained since."""
        names = self._supervisor.start_names(None, deps=True)
        if self.is_fresh:
            self._journal.note_session("session_started", names, SUPERVISOR)
        else:
            names = [name for name in names if name not in self.states]
            names += self._supervisor.brought_along(names)
        for name in names:
            self._supervisor.unit(name).feed(Start(SUPERVISOR))

    def record_all(self) -> None:
        """Record never-started tasks, too, so that a successor can tell them from tasks that are new in the file."""
        for name, unit in self._supervisor.units.items():
            if name not in self.states and unit.state.phase is TaskPhase.IDLE:
                self._journal.put(task=name, state=unit.state)
