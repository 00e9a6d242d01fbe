"""Numbers of replicas set by hand (`scale`), which override those in the file.

Such a number holds until the project is taken down, or until the file's number differs from what it was at the time:
whoever edits it afterwards means what is written there.
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
    """The number of replicas set by hand for a task, and the file's number at that time."""

    count: int
    written: int


ScaledTasks = Mapping[str, Scaled]


def load_scaled(
    file: Path, environ: Mapping[str, str], scaled: ScaledTasks, asked: Mapping[str, int] | None = None
) -> tuple[Project, ScaledTasks]:
    """The project with the replicas that were set by hand, now or before, and those settings that still hold.

    Raises ConfigError if the file is wrong by itself, or with these replicas.
    """
    project = load_project(file, environ)
    written = _replicas(project)
    held = {name: one for name, one in scaled.items() if written.get(name) == one.written}
    held |= {name: Scaled(count, written[name]) for name, count in (asked or {}).items() if name in written}
    if not held:
        return project, held
    try:
        return load_project(file, environ, replicas={name: one.count for name, one in held.items()}), held
    except ConfigError as error:  # the file by itself is valid
        counts = ", ".join(f"{name} {one.count}" for name, one in held.items())
        words = f"that is with the replicas that `scale` has set: {counts}"
        told = Problem(str(file), None, None, words, "`paneview scale` to a number that fits the file")
        raise ConfigError(*error.problems, told) from error


def take_over(
    project: Project, environ: Mapping[str, str], record: Mapping[str, Any]
) -> tuple[Project, ScaledTasks, str]:
    """The project with what an earlier supervisor recorded, what of that still holds, and what to tell of the rest."""
    if not (wanted := from_record(record)):
        return project, {}, ""
    try:
        project, held = load_scaled(project.file, environ, wanted)
    except ConfigError as error:  # the file by itself is valid: it was read a moment ago
        return (
            project,
            {},
            f"what `scale` has set does not fit the file any more, which counts again: {error}",
        )
    dropped = wanted.keys() - held.keys()
    return project, held, outvoted(dropped) if dropped else ""


def outvoted(names: Iterable[str]) -> str:
    """The message about tasks for which the file's number counts again."""
    return f"{', '.join(sorted(names))}: the file's number of replicas counts again, it is another one now"


def to_record(scaled: ScaledTasks) -> dict[str, Any]:
    """What to store for the next supervisor."""
    return {name: to_builtins(one) for name, one in scaled.items()}


def from_record(record: Mapping[str, Any]) -> ScaledTasks:
    """What an earlier supervisor stored."""
    return {name: Scaled(one["count"], one["written"]) for name, one in record.items()}


def _replicas(project: Project) -> Mapping[str, int]:
    """The number of replicas of each task that has any."""
    return Counter(task.base_name for task in project.tasks.values() if task.replica is not None)
