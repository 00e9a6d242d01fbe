"""Editing what the project's file says about a task: the user's editor, the difference, and only then the change.

The supervisor reads and writes the file (it keeps comments, checks the whole file, and refuses if someone has changed
it meanwhile). This module takes the text to the editor and back; nothing is applied that the user has not agreed to.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paneview.control.errors import ControlError
from paneview.tui import terminal
from paneview.tui.background import in_background, is_lent, lending_the_terminal
from paneview.tui.screens.base import MainScreen
from paneview.tui.screens.dialogs import Dialog, Option
from paneview.tui.screens.typing import TypingScreen
from paneview.tui.text import clean

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

LOOK_AGAIN = 0.1  # s
_ROLES = {"+": "ok", "-": "failed"}


def editor(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The user's editor, as a list of words. Raises ValueError for an unclosed quote."""
    return shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "vi")


def difference(was: str, text: str) -> list[str]:
    """The lines that differ, each with its sign, and two lines of context."""
    lines = difflib.unified_diff(was.splitlines(), text.splitlines(), n=2, lineterm="")
    return [clean(line.replace("\t", "    ")) for line in lines if not line.startswith(("---", "+++", "@@"))]


async def edit_task(app: PaneviewApp, name: str) -> None:
    """Edit a task's definition; a toast says that it is applied, or why not."""
    try:
        found = await app.link.call("definition", task=name)
    except ControlError as error:
        app.tell(f"edit {name}: {error.message}", failed=True)
        return
    await _edit(app, name, found, str(found["text"]))


async def _edit(app: PaneviewApp, name: str, found: Mapping[str, Any], text: str) -> None:
    was = str(found["text"])
    written = await in_editor(app, f"{name}.toml", text)
    if written is None:
        return
    question = agreement(found["task"], found["file"], was, written)
    if written == was or await app.push_screen_wait(question) != "y":
        app.tell(f"{name}: nothing was changed")
        return
    # Not in this worker: the terminal is back, and may be lent again while a task is restarted.
    in_background(app, apply, app, name, found, written)


async def apply(app: PaneviewApp, name: str, found: Mapping[str, Any], text: str) -> None:
    """Apply the change; this takes as long as restarting the task."""
    try:
        reply = await app.link.call("define", task=name, was=found["text"], text=text, timeout=None)
    except ControlError as error:
        while await _asked_again(app, name, error.message) == "e":
            if lending_the_terminal(app, _edit, app, name, found, text):
                return
    else:
        app.tell(f"{found['task']}: changed in {Path(found['file']).name}")
        for task, why in reply.get("refused", {}).items():
            app.tell(f"{task} goes on as it was: {why}", failed=True)


def agreement(name: str, file: str, was: str, text: str) -> Dialog:
    """The question before anything is changed: which file, and what in it."""
    options = (
        Option("n", "No", "change nothing"),
        Option("y", "Yes, apply", "restarts what runs differently", danger=True),
    )
    lines = [f"Writes {clean(file)}", "", *difference(was, text)]
    return Dialog(f"Change {clean(name)}?", lines, options, role=_role)


async def _asked_again(app: PaneviewApp, name: str, message: str) -> str:
    """Ask what to do about a refused change, as soon as that takes no keys from another question or text."""
    if not _is_free(app):
        app.tell(f"{name}: not applied, more when this is closed: {message}", failed=True)
    while not _is_free(app):  # noqa: ASYNC110 - nobody is told when dialogs, prompts and editors have ended
        await asyncio.sleep(LOOK_AGAIN)  # as above
    return await app.push_screen_wait(_refused(message))


def _is_free(app: PaneviewApp) -> bool:
    screen = app.screen
    typing = isinstance(screen, TypingScreen) or screen.query("#prompt")
    return isinstance(screen, MainScreen) and not typing and not is_lent(app)


def _refused(message: str) -> Dialog:
    options = (Option("e", "Edit again"), Option("n", "Give up", "the file stays as it is"))
    return Dialog("Not applied", message.splitlines(), options, refusal="n", unasked=True)


def _role(line: str) -> str:
    return _ROLES.get(line[:1], "dim")


async def in_editor(app: PaneviewApp, name: str, text: str) -> str | None:
    """Edit the text, in a file of this name, and return it; None, with a toast, if that failed."""
    try:
        with tempfile.TemporaryDirectory(prefix="paneview-") as folder:
            file = Path(folder) / name.replace("/", "_")
            file.write_text(text, encoding="utf-8", newline="")
            return file.read_bytes().decode("utf-8", "replace") if await _edited(app, file) else None
    except OSError as error:
        app.tell(f"{name}: no file to edit: {error}", failed=True)
        return None


async def _edited(app: PaneviewApp, file: Path) -> bool:
    """Run the user's editor on the file; whether it succeeded, with a toast if not."""
    from textual.app import SuspendNotSupported

    try:
        command = editor()
        status, _ = await terminal.run(app, [*command, str(file)])
    except (OSError, ValueError, SuspendNotSupported) as error:
        app.tell(f"no editor: {error}; $EDITOR names another", failed=True)
        return False
    if status:
        app.tell(f"{command[0]} ended with {status}: nothing was changed", failed=True)
    return not status
