"""What an edit of the file changed apart from processes: how tasks are treated, and the project's own settings.

By their names in the file, for events and messages.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import fields, replace

from paneview.config.models import Project, Task

_NOT_SETTINGS = {"name", "file", "root", "tasks", "agents", "secret_values"}
_IN_THE_FILE = {"has_queue": "queue", "secret_patterns": "secrets"}


def treated_otherwise(old: Mapping[str, Task], new: Mapping[str, Task]) -> list[str]:
    """The tasks in both whose definition in the file differs in any way."""
    return [name for name in new if name in old and _said(old, name) != _said(new, name)]


def _said(tasks: Mapping[str, Task], name: str) -> Task:
    """The task with its dependencies as the file names them, which another number of replicas does not change."""
    task = tasks[name]
    # A task that is kept only because a hook refused its removal may need one that is gone.
    needs = [
        replace(need, task=tasks[need.task].base_name) if need.task in tasks else need
        for need in task.depends_on
    ]
    return replace(task, depends_on=tuple(dict.fromkeys(needs)), written="")


def project_settings(old: Project, new: Project) -> list[str]:
    """The project's own settings that differ, by their keys and tables in the file."""
    pairs = [
        (_IN_THE_FILE.get(field.name, field.name), getattr(old, field.name), getattr(new, field.name))
        for field in fields(Project)
        if field.name not in _NOT_SETTINGS
    ]
    pairs += [(name, getattr(old.agents, name), getattr(new.agents, name)) for name in ("runners", "roles")]
    return list(dict.fromkeys(name for name, before, now in pairs if before != now))
