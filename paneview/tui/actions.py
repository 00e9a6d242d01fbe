"""What a person can have done to tasks: requests to the supervisor, in the background, told when they fail.

Nothing on the screen changes because a key was pressed; it changes when the supervisor says so.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from paneview.control.errors import ControlError
from paneview.tui import words
from paneview.tui.picture import Picture
from paneview.tui.text import clean

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp


class Verb(NamedTuple):
    """An action on tasks: the request, and the words for it."""

    do: str
    past: str
    asks: bool = False


VERBS = {
    "start": Verb("start", "started"),
    "stop": Verb("stop", "stopped"),
    "restart": Verb("restart", "restarted"),
    "kill": Verb("kill", "killed", asks=True),
}


async def perform(app: PaneviewApp, verb: Verb, names: Sequence[str]) -> None:
    """Ask for it, wait until it is done, and tell what failed."""
    try:
        reply = await app.link.call(verb.do, tasks=list(names), timeout=None)
    except ControlError as error:
        failed = [
            str(result.get("error")) for result in error.extra.get("results", ()) if not result.get("ok")
        ]
        app.tell("\n".join(failed) or f"{verb.do}: {error.message}", failed=True)
        return
    results = reply.get("results", ())
    if failed := [
        f"{result.get('task', '')}: {result.get('error')}" for result in results if not result.get("ok")
    ]:
        app.tell("\n".join(failed), failed=True)
    else:
        app.tell(f"{_list(names)} {verb.past}")


async def visit(app: PaneviewApp, name: str) -> None:
    """Go into the task's tmux window; back here when it is left. The command line knows how."""
    if app.is_headless or app.picture.file is None:
        return
    command = [sys.executable, "-P", "-m", "paneview", "attach", name, "--file", app.picture.file]
    with app.suspend():
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
    if process.returncode:
        app.tell(clean(said.decode("utf-8", "replace").strip()) or f"attach {name}: failed", failed=True)


def effects(verb: Verb, names: Sequence[str], picture: Picture) -> list[str]:
    """What the action will do, line by line, for the question before it."""
    lines = []
    for name in names:
        task = picture.tasks.get(name)
        if task is None:
            continue
        up = words.uptime(task, picture.clock())
        state = f"{words.look(task).word}" + (f" for {words.duration(up)}" if up is not None else "")
        count = f", {task.processes} processes" if (task.processes or 0) > 1 else ""
        pid = f", pid {task.pid}{count}" if task.pid is not None else ""
        lines.append(f"{clean(name)}: {state}{pid}")
    if verb.do == "kill":
        lines.append("SIGKILL at once to the whole process tree: nothing is saved or closed.")
    if verb.do in ("kill", "stop"):
        lines.append("Stays down until somebody starts it.")
        needing = [other for name in names for other in picture.dependents(name) if other not in names]
        running = [other for other in dict.fromkeys(needing) if picture.tasks[other].running]
        if running:
            lines.append(f"Needed by {_list(running)}, still running.")
    return lines


def _list(names: Sequence[str]) -> str:
    shown = [clean(name) for name in names[:4]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
