"""The supervisor: the units of one project, and the operations on them. When a task may start is up to the `Gate`.

It knows nothing of sockets or screens: `Requests` answers clients, `Host` wires everything up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from paneview.config.models import Project, Task
from paneview.control.errors import ControlError, UnknownTask
from paneview.rules import graph
from paneview.rules.graph import Graph, Unmet
from paneview.rules.states import Restart, SessionEnded, Start, Stop, TaskPhase, TaskState
from paneview.supervisor.tasks.gate import Gate
from paneview.supervisor.tasks.unit import Services, Unit

logger = logging.getLogger(__name__)

GOING_DOWN = "the project is going down"
Refused = dict[str, str]  # tasks whose stop a hook refused, and why: their runs go on


class Supervisor:
    """Owns the units. Each of ``listeners`` is called, in order, with the name of a task whose picture has changed."""

    def __init__(self, project: Project, services: Services) -> None:
        self.project = project
        self.file_problem = ""
        """Why the project's file in its present form is not applied; empty if it is."""
        self.services = services
        self.units: dict[str, Unit] = {}
        self.listeners: list[Callable[[str], None]] = []
        self._gate = Gate(self.changed, self._tell_late)
        self.stopped_by: dict[str, str] = {}  # task → who last asked for its end
        self._downs = 0  # the number of `down` calls under way
        self._stays = asyncio.Event()  # set while there is none
        self._stays.set()

    def changed(self, name: str) -> None:
        """Notify all listeners that a task's picture has changed."""
        for listener in self.listeners:
            try:
                listener(name)
            except Exception as error:  # the other listeners must still be called
                logger.exception("%s: a change was not told to all", name)
                self.services.journal.note("internal_error", f"telling of {name}: {error!r}")

    def load(self, states: dict[str, TaskState]) -> None:
        """Make a unit for every task of the project, with the state it had."""
        for name, task in self.project.tasks.items():
            self.units[name] = Unit(task, states.get(name, TaskState()), self.services, self._unit_changed)
        self._gate.follow(self.units)

    def unit(self, name: str) -> Unit:
        """The unit of this name. Raises UnknownTask."""
        try:
            return self.units[name]
        except KeyError:
            known = [*self.units, *(unit.task.base_name for unit in self.units.values())]
            raise UnknownTask(name, known, self._replicas(name)) from None

    def named(self, names: Iterable[str]) -> list[str]:
        """The tasks with these names, each once; a name that only replicas have means all. Raises UnknownTask."""
        found = (name for each in names for name in self._meant(each))
        return list(dict.fromkeys(found))

    def _meant(self, name: str) -> list[str]:
        # Replicas may stand beside the task that they replace, if a hook has refused its stop.
        return [name] if name in self.units else self._replicas(name) or [self.unit(name).name]

    def _replicas(self, base: str) -> list[str]:
        units = self.units.values()
        return [unit.name for unit in units if unit.task.replica is not None and unit.task.base_name == base]

    @property
    def states(self) -> dict[str, TaskState]:
        """The state of every task."""
        return {name: unit.state for name, unit in self.units.items()}

    # What may be asked

    def start_names(self, names: Sequence[str] | None, *, deps: bool) -> list[str]:
        """The tasks to start: the named ones, or all that start by themselves; with ``deps``, also what they need."""
        if names is None:
            tasks = (unit.task for unit in self.units.values())
            own = self.project.auto_start
            wanted = [task.name for task in tasks if own and task.auto_start and not task.schedule]
        else:
            wanted = self.named(names)
        if not deps:
            return [name for name in graph.order(self.graph) if name in set(wanted)]
        return graph.also_started(wanted, self.graph, self.states)

    async def start(self, names: Iterable[str], by: str) -> None:
        """Start these tasks; returns when each runs, waits for a dependency, or has failed. Raises ControlError."""
        names = list(names)
        if names:
            self.check_stays()
        await self._ask(names, lambda unit: unit.feed(Start(by)), self._has_launched)

    async def restart(self, names: Iterable[str], by: str) -> Refused:
        """Give each of these tasks a new run; returns as `start` does, with those whose run could not be ended."""
        names = list(names)
        if names:
            self.check_stays()
        before = {name: self.unit(name).state.run for name in names}
        came_to = await self._ask(names, lambda unit: unit.feed(Restart(by)), self._has_launched)
        return {
            name: state.reason
            for name, state in came_to.items()
            if state.phase is TaskPhase.RUNNING and state.run == before[name]
        }

    async def kill(self, names: Iterable[str], by: str) -> None:
        """Send SIGKILL to these tasks; returns when the last of their processes is gone."""
        await self._ask(names, lambda unit: self._stop(unit, by, kill=True), _stop_is_over)

    async def stop(self, names: Iterable[str], by: str) -> Refused:
        """Stop these tasks, dependents before what they depend on; returns when the last process is gone.

        Returns the refused stops. A task that was removed meanwhile counts as stopped.
        """
        wanted = set(names)
        stopping: dict[str, asyncio.Task[None]] = {}
        refused: Refused = {}

        async def stop_one(name: str, first: Collection[asyncio.Task[None]]) -> None:
            if first:
                await asyncio.wait(first)
            if (unit := self.units.get(name)) is None:
                return
            self._stop(unit, by)
            state = await unit.until(_stop_is_over)
            if state.phase is TaskPhase.RUNNING:
                refused[name] = state.reason

        for name in reversed(graph.order(self.graph)):
            if name in wanted:
                first = [stopping[other] for other in self._gate.dependents(name) if other in wanted]
                stopping[name] = asyncio.ensure_future(stop_one(name, first))
        await asyncio.gather(*stopping.values())
        return refused

    def _stop(self, unit: Unit, by: str, *, kill: bool = False) -> None:
        self.stopped_by[unit.name] = by
        unit.feed(Stop(by, kill))

    async def down(self, by: str) -> Refused:
        """Stop everything, including what starts meanwhile; afterwards nothing starts, unless a stop was refused."""
        self._downs += 1
        self._stays.clear()
        through = False
        try:
            refused = await self.stop(list(self.units), by)
            # A start or a change of the file that was under way may have started more.
            while not refused and (left := self._under_way()):
                refused = await self.stop(left, by)
            if not refused:
                await self.services.strays.gone()
                through = True
        finally:
            if not through:
                self._downs -= 1
                if not self._downs:
                    self._stays.set()
        return refused

    def _under_way(self) -> list[str]:
        return [name for name, unit in self.units.items() if unit.state.phase.under_way]

    @property
    def going_down(self) -> bool:
        """Whether the project is being taken down."""
        return not self._stays.is_set()

    def check_stays(self) -> None:
        """Raise ControlError while the project is being taken down: what started now would outlive it."""
        if self.going_down:
            raise ControlError(f"{GOING_DOWN}; try again when `paneview down` is through", "going_down")

    async def stays(self) -> None:
        """Wait while the project is being taken down, which is for ever unless that fails."""
        await self._stays.wait()

    def end_session(self) -> None:
        """Forget marks and counters after `down`, so that the next start is a fresh one."""
        for unit in self.units.values():
            unit.feed(SessionEnded())

    # The graph

    @property
    def graph(self) -> Graph:
        """What each task depends on, in the project's order."""
        return self._gate.graph

    def held_by(self, name: str) -> list[Unmet]:
        """What holds this task back, if it waits."""
        return self._gate.held_by(name)

    def brought_along(self, names: Iterable[str]) -> list[str]:
        """What starts along with these tasks, since they need it; not what a person keeps stopped."""
        return graph.brought_along(names, self.graph, self.states)

    def consider(self) -> None:
        """Start every waiting task whose dependencies are met."""
        self._gate.consider_all()

    def _unit_changed(self, unit: Unit) -> None:
        self.changed(unit.name)
        self._gate.unit_changed(unit)

    def _tell_late(self, name: str, held: Sequence[Unmet]) -> None:
        words = "; ".join(f"{one.task} {one.why}" for one in held)
        self.services.journal.note_task(
            name, None, "dependency_timeout", f"still waits: {words}", waits_for=[one.task for one in held]
        )

    # Changing the project

    def add(self, task: Task) -> Unit:
        """Take a new task into the project; `reshape` must follow."""
        unit = self.units[task.name] = Unit(task, TaskState(), self.services, self._unit_changed)
        return unit

    async def remove(self, name: str) -> None:
        """Remove a task that no longer runs; `reshape` must follow."""
        unit = self.units.pop(name)
        self._gate.follow(self.units)  # before the first await: the graph must only have tasks with a unit
        self._gate.forget(name)
        await unit.close()

    def reshape(self, project: Project) -> None:
        """Take the project's new order and graph; its units must exist already."""
        self.project = project
        self.units = {name: self.units[name] for name in project.tasks}
        self._gate.follow(self.units)
        self.consider()

    async def close(self) -> None:
        """Cancel everything; processes go on."""
        self._gate.close()
        for unit in self.units.values():
            await unit.close()

    # Waiting for what was asked

    async def _ask(
        self, names: Iterable[str], ask: Callable[[Unit], None], settled: Callable[[Unit], bool]
    ) -> dict[str, TaskState]:
        units = [self.unit(name) for name in names]
        for unit in units:
            ask(unit)
        states = await asyncio.gather(*(unit.until(settled) for unit in units))
        return {unit.name: state for unit, state in zip(units, states, strict=True)}

    def _has_launched(self, unit: Unit) -> bool:
        """Whether it runs, rests, or waits for a dependency."""
        match unit.state.phase:
            case TaskPhase.STARTING | TaskPhase.STOPPING:
                return False
            case TaskPhase.WAITING:
                return bool(self.held_by(unit.name))
            case _:
                return True


def _stop_is_over(unit: Unit) -> bool:
    """Whether the run has ended, even if another one follows, or the stop was refused.

    If it was refused, the task is running: only a failed hook leads back there from a stop.
    """
    return unit.state.phase is not TaskPhase.STOPPING
