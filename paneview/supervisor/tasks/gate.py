"""The gate before each start: a waiting task passes when what it depends on is there, and when it is its turn.

It looks after every change of a task, so it looks at that task and those around it only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence

from paneview.rules import graph
from paneview.rules.graph import Graph, Unmet
from paneview.rules.pacing import Pace, turn
from paneview.rules.states import DependenciesMet, TaskPhase
from paneview.supervisor.tasks.unit import Unit


class Gate:
    """Holds tasks back, and lets them pass.

    ``changed`` is called with the name of a task whose reason to wait has changed. ``late`` is called, once in each
    wait, with one that waits for longer than what it depends on may take to get ready, and with what it lacks.
    """

    def __init__(
        self, changed: Callable[[str], None], late: Callable[[str, Sequence[Unmet]], object]
    ) -> None:
        self.graph: Graph = {}
        self._changed = changed
        self._tell_late = late
        self._units: Mapping[str, Unit] = {}
        self._dependents: dict[str, frozenset[str]] = {}
        self._late: dict[str, asyncio.TimerHandle] = {}  # waiting tasks: until they are late
        self._turns: dict[str, asyncio.TimerHandle] = {}  # waiting tasks that lack nothing but their turn
        self._pace = Pace(_cores())

    def follow(self, units: Mapping[str, Unit]) -> None:
        """Go by the dependencies between these units from now on."""
        self._units = units
        self.graph = {
            name: tuple((need.task, need.condition) for need in unit.task.depends_on if need.task in units)
            for name, unit in units.items()
        }
        self._dependents = graph.dependents(self.graph)

    def dependents(self, name: str) -> frozenset[str]:
        """The tasks that depend directly on this one."""
        return self._dependents.get(name, frozenset())

    def held_by(self, name: str) -> list[Unmet]:
        """The dependencies that hold this task back."""
        units = [self._units[other] for other, _ in self.graph[name]]
        unsure = {unit.name for unit in units if _is_unsure(unit)}
        return graph.unmet(name, self.graph, {unit.name: unit.state for unit in units}, unsure)

    def consider_all(self) -> None:
        """Let every waiting task pass that may."""
        for unit in list(self._units.values()):
            self._consider(unit)

    def unit_changed(self, unit: Unit) -> None:
        """Note that a task has changed: it, or one that depends on it, may pass now."""
        self._watch_wait(unit)
        self._consider(unit)
        for name in self.dependents(unit.name):
            other = self._units[name]
            if other.state.phase is TaskPhase.WAITING:
                self._changed(name)  # because the reason why it waits has changed
                self._consider(other)
                other.reconsider()

    def forget(self, name: str) -> None:
        """Note that the project no longer has this task."""
        if timer := self._late.pop(name, None):
            timer.cancel()

    def close(self) -> None:
        """Let nothing pass any more."""
        for timer in (*self._late.values(), *self._turns.values()):
            timer.cancel()

    def _consider(self, unit: Unit) -> None:
        if unit.state.phase is not TaskPhase.WAITING or unit.name in self._turns:
            return
        if self.held_by(unit.name):
            return
        wait = self._wait_for_turn(unit)
        if wait > 0:
            loop = asyncio.get_running_loop()
            self._turns[unit.name] = loop.call_later(wait, self._has_turn, unit.name)
        else:
            unit.feed(DependenciesMet())

    def _wait_for_turn(self, unit: Unit) -> float:
        """Seconds until this task may start; only tasks whose readiness others wait for take turns."""
        if not (self.dependents(unit.name) and unit.policy.probed):
            return 0.0
        now = asyncio.get_running_loop().time()
        self._pace, begins = turn(self._pace, now)
        return begins - now

    def _has_turn(self, name: str) -> None:
        del self._turns[name]
        unit = self._units.get(name)
        if unit and unit.state.phase is TaskPhase.WAITING and not self.held_by(name):
            unit.feed(DependenciesMet())

    def _watch_wait(self, unit: Unit) -> None:
        waiting = unit.state.phase is TaskPhase.WAITING
        if waiting and unit.name not in self._late:
            limits = [self._units[other].task.ready_timeout for other, _ in self.graph[unit.name]]
            if limits:
                loop = asyncio.get_running_loop()
                self._late[unit.name] = loop.call_later(max(limits), self._is_late, unit.name)
        elif not waiting:
            self.forget(unit.name)

    def _is_late(self, name: str) -> None:
        if held := self.held_by(name):
            self._tell_late(name, held)


def _is_unsure(unit: Unit) -> bool:
    """Whether its run is on record but not found yet, or may be lost with tmux.

    Otherwise dependents that were lost with it would start at the same time, or before it.
    """
    return unit.state.phase is TaskPhase.RUNNING and (unit.live is None or unit.live.lost)


def _cores() -> int:
    """The number of cores that we may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
