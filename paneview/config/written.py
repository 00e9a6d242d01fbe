"""A mark of what the files say about a task's process, as written: before any ``${VAR}`` is filled in.

`Task.definition_key` is made from what comes of that, so it differs where the environment does (``PATH =
"bin:${PATH}"``, the Python that runs a worker). That alone makes a process that another shell's supervisor has started
no different; both marks together tell whether the definition was changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paneview.config.models import Task
from paneview.config.reading import read_file

# The keys that define a process; a worker's command is put together from those from `role` on.
_PARTS = ("command", "cwd", "env", "env_file", "role", "concurrency", "runner", "handlers", "allow")


def mark(task: Task, data: Mapping[str, Any], root: Path) -> str:
    """The mark of a task in the file's `data`, which is free of mistakes."""
    is_worker = task.worker is not None
    own: Mapping[str, Any] = data["workers" if is_worker else "tasks"][task.base_name]
    said: list[Any] = [task.replica, {name: own[name] for name in _PARTS if name in own}, data.get("env")]
    said += [(name, _content(root, name)) for name in (data.get("env_file"), own.get("env_file"))]
    if is_worker:
        said.append(data.get("queue", {}).get("broker"))
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _content(root: Path, name: str | None) -> str:
    """A hash of an env_file, whose lines are part of the definition; empty for a name with a ``${VAR}``: any file."""
    if name is None or "${" in name:
        return ""
    try:
        return hashlib.sha256(read_file(root / os.path.expanduser(name))).hexdigest()
    except OSError:  # removed since it was read
        return ""
