"""``workflow eject``: the default workflow as the project's own files, to be changed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paneview.cli import place
from paneview.cli.errors import FAILED, USAGE, CliError
from paneview.cli.output import clean, print_json
from paneview.config.editing.edit import edit_file
from paneview.config.load import load_project
from paneview.config.workflows.tables import DEFAULT, DEFAULTS

if TYPE_CHECKING:
    from paneview.cli.parser import Call

FOLDER = "workflows"
_FILES = re.compile(r'^(prompt_file|output_schema) = "([^"]+)"', re.MULTILINE)


def eject(call: Call) -> int:
    """Write the prompts beside the file, and the table into it: both or nothing. Nothing that exists is replaced."""
    file = Path(place.find(call, hint=place.FOR_WORKFLOWS).file)
    load_project(file, os.environ)
    text = (DEFAULTS / "workflow.toml").read_text()
    names = [name for _, name in _FILES.findall(text)]
    table = _FILES.sub(lambda match: f'{match[1]} = "{FOLDER}/default/{match[2]}"', text)
    folder = file.parent / FOLDER / "default"

    def add(before: str, data: Mapping[str, Any]) -> str:
        there = data.get("workflows")
        if isinstance(there, dict) and DEFAULT in there:
            raise CliError(f"{file} has a workflow 'default' already", USAGE, code="config")
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            _write(folder / name, (DEFAULTS / name).read_text(), undo)
        return before + ("" if before.endswith("\n") or not before else "\n") + "\n" + table

    with ExitStack() as undo:
        edit_file(file, add, os.environ)
        undo.pop_all()
    written = [str(folder / name) for name in names]
    if call.json:
        print_json({"ok": True, "file": str(file), "written": written})
    else:
        print(f"the workflow 'default' is in {clean(file)}, its prompts in {clean(folder)}")
    return 0


def _write(file: Path, text: str, undo: ExitStack) -> None:
    try:
        with file.open("x") as new:
            undo.callback(file.unlink)
            new.write(text)
    except FileExistsError:
        raise CliError(f"{file} exists already", FAILED, "move it away", code="system") from None
