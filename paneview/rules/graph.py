"""The dependency graph: which tasks may start now, what each one waits for, and in which order they stop."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import TopologicalSorter

from msgspec import Struct

from paneview.config.choices import Condition
from paneview.rules.restart import describe
from paneview.rules.states import TaskPhase, TaskState

# task -> its dependencies: (task it depends on, condition)
Graph = Mapping[str, tuple[tuple[str, Condition], ...]]


class Unmet(Struct, frozen=True):
    """A dependency that holds a task back; ``why`` is for people."""

    task: str
    condition: Condition
    why: str


def satisfied(state: TaskState, condition: Condition) -> bool:
    """Whether a dependency in this state lets its dependents start.

    A run that ended with exit code 0 satisfies every condition: a task that depends on a short preparation step
    must not wait for ever because that step was quick.
    """
    if state.phase is TaskPhase.DONE:
        return True
    if state.phase is not TaskPhase.RUNNING:
        return False
    return condition == "started" or (condition == "healthy" and state.ready)


def unmet(
    name: str, graph: Graph, states: Mapping[str, TaskState], unsure: Collection[str] = ()
) -> list[Unmet]:
    """The dependencies that hold ``name`` back. ``unsure``: tasks that are not known to run still."""
    return [
        Unmet(other, condition, _UNSURE if other in unsure else _why(states[other], condition))
        for other, condition in graph[name]
        if other in unsure or not satisfied(states[other], condition)
    ]


_UNSURE = "has not been found again yet"


_WHY = {
    TaskPhase.IDLE: "is not started",
    TaskPhase.WAITING: "is waiting too",
    TaskPhase.STARTING: "is starting",
    TaskPhase.STOPPING: "is stopping",
    TaskPhase.STOPPED: "is stopped",
    TaskPhase.BACKOFF: "waits to be restarted",
}


def _why(state: TaskState, condition: Condition) -> str:
    if state.phase is TaskPhase.RUNNING:
        return "has not completed" if condition == "completed" else "is not ready"
    if state.phase is TaskPhase.FAILED:
        return f"failed ({state.reason or describe(state.exit)})"
    return _WHY[state.phase]


def order(graph: Graph) -> list[str]:
    """All tasks, dependencies first, otherwise in the given order. Raises graphlib.CycleError."""
    return list(
        TopologicalSorter(
            {name: [other for other, _ in needs] for name, needs in graph.items()}
        ).static_order()
    )


def dependents(graph: Graph) -> dict[str, frozenset[str]]:
    """Task -> the tasks that depend on it directly."""
    found: dict[str, set[str]] = {name: set() for name in graph}
    for name, needs in graph.items():
        for other, _ in needs:
            found[other].add(name)
    return {name: frozenset(others) for name, others in found.items()}


def also_started(names: Iterable[str], graph: Graph, states: Mapping[str, TaskState]) -> list[str]:
    """``names`` and those of their dependencies that are neither active nor satisfied, dependencies first."""
    asked = set(names)
    wanted: set[str] = set()
    todo = list(asked)
    while todo:
        name = todo.pop()
        wanted.add(name)
        todo.extend(
            other
            for other, condition in graph[name]
            if other not in wanted
            and not satisfied(states[other], condition)
            and not states[other].phase.active
        )
    return [name for name in order(graph) if name in wanted]


_CAN_BEGIN = frozenset({TaskPhase.IDLE, TaskPhase.STOPPED, TaskPhase.FAILED})


def brought_along(names: Iterable[str], graph: Graph, states: Mapping[str, TaskState]) -> list[str]:
    """The tasks that must start along with ``names``, which would wait for them for ever; dependencies first.

    Tasks that only a person starts again are left out, stopped ones and quarantined workers; and so are tasks that only
    those need.
    """
    asked = set(names)
    free = {
        name: tuple(need for need in needs if _can_begin(states[need[0]])) for name, needs in graph.items()
    }
    return [name for name in also_started(asked, free, states) if name not in asked]


def _can_begin(state: TaskState) -> bool:
    return state.phase in _CAN_BEGIN and not state.manual_stop and not state.quarantined
