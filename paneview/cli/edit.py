"""``check``, ``schema``, ``add`` and ``remove``: the configuration file, with or without a supervisor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paneview.cli import place
from paneview.cli.completion import names_in_file
from paneview.cli.errors import UsageError, unknown_task
from paneview.cli.output import clean, print_json
from paneview.config.editing.edit import add_task, remove_task
from paneview.config.load import load_project
from paneview.control.errors import NoSupervisor

if TYPE_CHECKING:
    from paneview.cli.parser import Call


def check(call: Call) -> int:
    """Load the file and report that it has no mistakes. Raises ConfigError with those it has."""
    here = place.find(call, call.words[0] if call.words else None)
    project = load_project(Path(here.file), os.environ)
    if call.json:
        tasks = list(project.tasks)
        print_json({"ok": True, "file": here.file, "session": project.name, "tasks": tasks, "problems": []})
    else:
        count = len(project.tasks)
        print(f"{clean(here.file)}: {count} task{'' if count == 1 else 's'}, no mistakes")
    return 0


def schema(call: Call) -> int:
    """Print the schema of the file, or of what a command prints."""
    command = call.text("output")
    if command is None:
        from paneview.config.schema import schema as file_schema  # noqa: PLC0415

        found: dict[str, Any] = file_schema()
    else:
        from paneview.cli.shapes import SHAPES  # noqa: PLC0415
        from paneview.config.jsonschema import json_schema  # noqa: PLC0415

        if command not in SHAPES:
            raise UsageError(f"there is no output of {command!r}", f"there is one of {', '.join(SHAPES)}")
        found = json_schema(SHAPES[command])
    print(json.dumps(found, indent=None if call.json else 2))
    return 0


def add(call: Call) -> int:
    """Add a task to the file; a running supervisor takes it over, and starts it if it has auto_start."""
    name, command = call.words
    here = place.find(call)
    add_task(Path(here.file), name, {"command": command, **_fields(call)}, os.environ)
    return _edited(call, here, name, "added")


def remove(call: Call) -> int:
    """Remove a task from the file; a running supervisor stops it."""
    name = call.words[0]
    here = place.find(call)
    if name not in (known := names_in_file(here.file)):
        load_project(Path(here.file), os.environ)  # mistakes in the file are reported first
        raise unknown_task(name, known)
    remove_task(Path(here.file), name, os.environ)
    return _edited(call, here, name, "removed")


def _fields(call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for option in ("cwd", "health-check", "health-url", "restart-policy", "description"):
        if (value := call.text(option)) is not None:
            fields[option.replace("-", "_")] = value
    if (port := call.count("port")) is not None:
        fields["port"] = port
    if names := call.texts("depends-on"):
        fields["depends_on"] = names
    if call.flag("no-auto-start"):
        fields["auto_start"] = False
    return fields


def _edited(call: Call, here: place.Place, name: str, action: str) -> int:
    try:
        here.ask("reload", timeout=None)
        reloaded = True
    except NoSupervisor:
        reloaded = False
    if call.json:
        command = {"command": call.words[1]} if action == "added" else {}
        told = {"task": name, **command, "action": action, "file": here.file, "reloaded": reloaded}
        print_json({"ok": True, **told})
    else:
        print(f"{action}: {clean(name)}" + ("" if reloaded else f" (in {clean(here.file)})"))
    return 0
