"""Numbers of replicas that were asked for by hand (`scale`), beside those of the file.

Such a number stands for the file's until the project is taken down, or until the file says another one than it was
asked beside: who edits the file afterwards means what is written there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins

from paneview.config.errors import ConfigError, Problem
from paneview.config.load import load_project
from paneview.config.models import Project


class Scaled(Struct, frozen=True):
    """How many replicas a task has by hand, and how many the file said then."""

    count: int
    written: int


ScaledTasks = Mapping[str, Scaled]


def load_scaled(
    file: Path, environ: Mapping[str, str], scaled: ScaledTasks, asked: Mapping[str, int] | None = None
) -> tuple[Project, ScaledTasks]:
    """The project with as many replicas as were asked for, now or before, and what of that still holds.

    Raises ConfigError for the file as it is, too, whatever was asked for.
    """
    project = load_project(file, environ)
    written = _replicas(project)
    held = {name: one for name, one in scaled.items() if written.get(name) == one.written}
    held |= {name: Scaled(count, written[name]) for name, count in (asked or {}).items() if name in written}
    if not held:
        return project, held
    try:
        return load_project(file, environ, replicas={name: one.count for name, one in held.items()}), held
    except ConfigError as error:  # of a file that is right by itself
        counts = ", ".join(f"{name} {one.count}" for name, one in held.items())
        words = f"that is with the replicas that `scale` has set: {counts}"
        told = Problem(str(file), None, None, words, "`paneview scale` to a number that fits the file")
        raise ConfigError(*error.problems, told) from error


def outvoted(names: Iterable[str]) -> str:
    """What is told of tasks for which the file's number counts again."""
    return f"{', '.join(sorted(names))}: the file's number of replicas counts again, it is another one now"


def to_record(scaled: ScaledTasks) -> dict[str, Any]:
    """What the store remembers for the next supervisor."""
    return {name: to_builtins(one) for name, one in scaled.items()}


def from_record(record: Mapping[str, Any]) -> ScaledTasks:
    """What an earlier supervisor has left."""
    return {name: Scaled(one["count"], one["written"]) for name, one in record.items()}


def _replicas(project: Project) -> Mapping[str, int]:
    """How many replicas each task has that has any."""
    return Counter(task.base_name for task in project.tasks.values() if task.replica is not None)
