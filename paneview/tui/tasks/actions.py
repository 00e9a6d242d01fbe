"""Actions on tasks: requests to the supervisor, in the background; a toast tells the outcome.

Nothing on the screen changes because a key was pressed; it changes when the supervisor reports it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from textual.app import SuspendNotSupported

from paneview.control.errors import ControlError
from paneview.tui import commandline, terminal, words
from paneview.tui.background import in_background
from paneview.tui.files import here
from paneview.tui.picture import Picture
from paneview.tui.text import clean

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp


class Verb(NamedTuple):
    """An action on tasks: the request, and the words for it."""

    do: str
    past: str
    asks: bool = False  # for confirmation, even for a single task
    ends: bool = True  # it ends a process


MOST_NAMED = 9  # tasks that get a line of their own in a question
VERBS = {
    "start": Verb("start", "started", ends=False),
    "stop": Verb("stop", "stopped"),
    "restart": Verb("restart", "restarted"),
    "kill": Verb("kill", "killed", asks=True),
}


async def perform(app: PaneviewApp, verb: Verb, names: Sequence[str]) -> None:
    """Request it, wait until it is done, and report what failed."""
    try:
        with app.doing.under_way(f"{verb.do} {words.listed(names)}"):
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
        already = [name for name in reply.get("already", ()) if name in names]
        done = [name for name in names if name not in already]
        told = [f"{words.listed(done)} {verb.past}"] if done else []
        if already:
            told.append(f"{words.listed(already)} {'runs' if len(already) == 1 else 'run'} already")
        app.tell("; ".join(told))


async def visit(app: PaneviewApp, name: str) -> None:
    """Go into the task's tmux window, by the command line's `attach`, and back here when it is left."""
    if app.is_headless or app.picture.file is None:
        return
    command = commandline.words_of("attach", name, "--back", "--file", app.picture.file)
    try:
        status, said = await terminal.run(app, command, told=True)
    except (OSError, SuspendNotSupported) as error:
        app.tell(f"attach {name}: {error}", failed=True)
        return
    if status:
        app.tell(clean(said.decode("utf-8", "replace").strip()) or f"attach {name}: failed", failed=True)


async def export(app: PaneviewApp, options: Sequence[str]) -> None:
    """Write events and output to a file in the current folder, by the command line's `export` with ``options``."""
    if app.picture.file is None:
        return
    given: list[str] = []
    if not any(word.startswith("-o") or word.partition("=")[0] == "--output" for word in options):
        try:
            file = here(f"{app.picture.session}-{time.strftime('%Y%m%d-%H%M%S')}.jsonl")
        except OSError as error:
            told = f"export: {error.strerror}: {error.filename}"
            app.tell(f"{told}; :export --output FILE names another place", failed=True)
            return
        given = ["--output", str(file)]
    with app.doing.under_way("export"):
        done = await commandline.run("export", [*options, *given, "--file", app.picture.file])
    if done.status:
        app.tell(done.said or "export failed", failed=True)
    else:
        app.tell(f"exported to {given[-1] if given else 'the file that was named'}")


def effects(verb: Verb, names: Sequence[str], picture: Picture) -> list[str]:
    """What the action will do, line by line, for the question before it."""
    tasks = [picture.tasks[name] for name in names if name in picture.tasks]
    met = [task for task in tasks if len(tasks) == 1 or task.running or task.state in ("waiting", "backoff")]
    lines = []
    for task in met if len(met) <= MOST_NAMED + 1 else met[:MOST_NAMED]:
        up = words.uptime(task, picture.clock())
        state = f"{words.look(task).word}" + (f" for {words.age(up)}" if up is not None else "")
        count = f", {task.processes} processes" if (task.processes or 0) > 1 else ""
        pid = f", pid {task.pid}{count}" if task.pid is not None else ""
        lines.append(f"{clean(task.name)}: {state}{pid}")
    if len(met) > MOST_NAMED + 1:
        lines.append(f"… and {words.listed([task.name for task in met[MOST_NAMED:]])}")
    if quiet := [task.name for task in tasks if task not in met]:
        lines.append(f"No process: {words.listed(quiet)}.")
    if verb.do == "kill":
        lines.append("SIGKILL at once to the whole process tree: nothing is saved or closed.")
    if verb.do in ("kill", "stop"):
        lines.append("Stays down until somebody starts it.")
    if needing := needed_by(names, picture):
        lines.append(f"Needed by {words.listed(needing)}, still running.")
    return lines


def needed_by(names: Sequence[str], picture: Picture) -> list[str]:
    """The running tasks that depend on one of these, directly or not, without these themselves."""
    needing = [other for name in names for other in picture.dependents(name) if other not in names]
    return [other for other in dict.fromkeys(needing) if picture.tasks[other].running]


def question(verb: Verb, names: Sequence[str], picture: Picture) -> tuple[str, list[str], list[str]] | None:
    """The question before the action: title, effects, and tasks that can be included; None if none is needed."""
    needing = needed_by(names, picture) if verb.do == "stop" else []
    if not verb.ends or not (verb.asks or needing or len(names) > 1):
        return None
    what = clean(names[0]) if len(names) == 1 else f"{len(names)} tasks"
    return f"{verb.do.capitalize()} {what}?", effects(verb, names, picture), needing


def scaled(name: str, by: int, picture: Picture) -> tuple[str, int]:
    """The task that this is a replica of, and how many replicas there would be after the change."""
    base = name.rpartition(".")[0] or name
    count = sum(other.rpartition(".")[0] == base for other in picture.tasks)
    return base, max(1, count) + by


def rescale(app: PaneviewApp, name: str, by: int) -> None:
    """Run more or fewer replicas of this task; for fewer, ask first."""
    base, count = scaled(name, by, app.picture)
    if by > 0 or count < 1:
        in_background(app, scale, app, base, count)
        return
    from paneview.tui.screens.dialogs import confirm

    def answered(answer: str | None) -> None:
        if answer != "y":
            return
        if scaled(name, by, app.picture) == (base, count):
            in_background(app, scale, app, base, count)
        else:  # others than the one that was named would be stopped
            app.tell(f"scale {clean(base)}: the number of replicas has changed meanwhile", failed=True)

    effect = f"Stops {clean(base)}.{count + 1} and removes it."
    app.push_screen(confirm(f"Scale {clean(base)} to {count}?", [effect], "scale"), answered)


async def scale(app: PaneviewApp, base: str, count: int) -> None:
    """Run another number of replicas, and report the outcome."""
    try:
        with app.doing.under_way(f"scale {clean(base)} to {count}"):
            await app.link.call("scale", task=base, replicas=count, timeout=None)
    except ControlError as error:
        app.tell(f"scale {base}: {error.message}", failed=True)
    else:
        app.tell(f"{base}: {words.plural(count, 'replica')}")
