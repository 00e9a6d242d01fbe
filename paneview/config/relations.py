"""Conflicts between tasks: those that wait for each other, or for what never comes, or share a port or a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path as FilePath

from msgspec.structs import replace

from paneview.config.fields import STAND_IN
from paneview.config.models import Dependency, Task, TaskTable
from paneview.config.resolve import Context
from paneview.config.validate import Path, nearest


def check_dependencies(context: Context, tables: Mapping[str, TaskTable], names: Collection[str]) -> None:
    """Complain about unknown and repeated names, cycles, and waiting for the end of what is always restarted.

    `names` are all tasks of the file, including those that `tables` lacks because of another mistake.
    """
    for name, table in tables.items():
        seen: set[str] = set()
        for index, dependency in enumerate(_dependencies(table)):
            target = dependency.task
            path: Path = ("tasks", name, "depends_on", index)
            if target == STAND_IN and context.complaints:
                continue
            if target not in names:
                others = [other for other in names if other != name]
                context.complain(path, f"{target!r} is not a task", nearest(target, others))
            elif target in seen:
                context.complain(path, f"depends on {target!r} twice")
            elif dependency.condition == "completed" and _never_completes(tables.get(target)):
                message = f"waits for task {target!r} to complete, but that is always restarted"
                context.complain(path, message, f'{target!r} needs restart_policy "no" or "on-failure"')
            seen.add(target)
    _check_cycles(context, tables)


def _never_completes(table: TaskTable | None) -> bool:
    return table is not None and table.restart_policy == "always"


def _dependencies(table: TaskTable) -> list[Dependency]:
    return [item if isinstance(item, Dependency) else Dependency(task=item) for item in table.depends_on]


def _check_cycles(context: Context, tables: Mapping[str, TaskTable]) -> None:
    """Report each cycle once, at its first task in the file, at the dependency that is part of the cycle."""
    graph = {
        name: [d.task for d in _dependencies(table) if d.task in tables] for name, table in tables.items()
    }
    order = list(graph)
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # graphlib lists what is waited for first; reversed, it reads "a waits for b".
            circle = error.args[1][:0:-1]
            first = min(range(len(circle)), key=lambda i: order.index(circle[i]))
            circle = circle[first:] + circle[:first]
            target = circle[1 % len(circle)]
            index = [d.task for d in _dependencies(tables[circle[0]])].index(target)
            words = " → ".join([*circle, circle[0]])
            context.complain(("tasks", circle[0], "depends_on", index), f"tasks wait for each other: {words}")
            graph[circle[0]].remove(target)
        else:
            return


def check_sharing(context: Context, tasks: Mapping[str, Task]) -> None:
    """Complain about a port or a log file that two tasks share."""
    hints = {
        "port": "give each its own by ${PANEVIEW_REPLICA} in the command",
        "log_file": "use ${PANEVIEW_REPLICA} in it",
    }
    for field, hint in hints.items():
        owners: dict[object, Task] = {}
        for task in tasks.values():
            value = getattr(task, field)
            owner = owners.setdefault(value, task)
            if value is None or owner is task:
                continue
            path: Path = ("tasks", task.base_name, field)
            if owner.base_name == task.base_name:
                context.complain(path, f"{field} {value} can't be shared by replicas", hint)
            else:
                context.complain(path, f"{field} {value} is already that of task {owner.base_name!r}")


def check_log_files(context: Context, tasks: Mapping[str, Task], project_file: FilePath) -> None:
    """Complain about a log file that would write over the project's file, or over another log's older part."""
    logs = {task.log_file for task in tasks.values()}
    for task in tasks.values():
        if (log := task.log_file) is None:
            continue
        stem, _, number = log.name.rpartition(".")
        path: Path = ("tasks", task.base_name, "log_file")
        if log == project_file:
            context.complain(path, f"log_file {str(log)!r} is this very file")
        elif stem and number.isdecimal() and log.with_name(stem) in logs:
            full = str(log.with_name(stem))
            context.complain(path, f"log_file {str(log)!r} is the name that {full!r} gets when it is full")


def expand_dependencies(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """The tasks, with each dependency on a task with replicas turned into one on each replica."""
    replicas: dict[str, list[str]] = {}
    for task in tasks.values():
        replicas.setdefault(task.base_name, []).append(task.name)
    return {
        name: replace(
            task,
            depends_on=tuple(
                Dependency(task=full, condition=dependency.condition)
                for dependency in task.depends_on
                for full in replicas.get(dependency.task, ())
            ),
        )
        for name, task in tasks.items()
    }
