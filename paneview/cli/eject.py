"""``workflow eject``: the default workflow as the project's own files, to be changed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.cli import place
from paneview.cli.errors import FAILED, USAGE, CliError
from paneview.cli.output import clean, print_json
from paneview.config.load import load_project, parse_project
from paneview.config.workflows import DEFAULTS

if TYPE_CHECKING:
    from paneview.cli.parser import Call

FOLDER = "workflows"
_FILES = re.compile(r'^(prompt_file|output_schema) = "([^"]+)"', re.MULTILINE)


def eject(call: Call) -> int:
    """Write the prompts beside the file, and the table into it. What is there is never replaced."""
    file = Path(place.find(call, hint=place.FOR_WORKFLOWS).file)
    load_project(file, os.environ)
    before = file.read_bytes()
    if re.search(rb"^\s*\[\[?workflows\.(default|\"default\")[.\]]", before, re.MULTILINE):
        raise CliError(f"{file} has a workflow 'default' already", USAGE, code="config")
    text = (DEFAULTS / "workflow.toml").read_text()
    names = [name for _, name in _FILES.findall(text)]
    table = _FILES.sub(lambda match: f'{match[1]} = "{FOLDER}/default/{match[2]}"', text)
    folder = file.parent / FOLDER / "default"
    taken = [name for name in names if (folder / name).exists()]
    if taken:
        raise CliError(f"{folder / taken[0]} is there already", FAILED, "move it away", code="system")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text((DEFAULTS / name).read_text())
    after = before + (b"" if before.endswith(b"\n") or not before else b"\n") + b"\n" + table.encode()
    parse_project(after, file, os.environ)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(after)
    os.chmod(draft, file.stat().st_mode & 0o777)
    os.replace(draft, file)
    written = [str(folder / name) for name in names]
    if call.json:
        print_json({"ok": True, "file": str(file), "written": written})
    else:
        print(f"the workflow 'default' is in {clean(file)}, its prompts in {clean(folder)}")
    return 0
