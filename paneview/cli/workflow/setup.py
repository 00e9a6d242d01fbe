"""``workflow-setup``: a tmux session with the workers of the default workflow, each in a pane; ``workflow-teardown``.

Five panes: one shows what happens to workflows (the orchestrator itself is the supervisor), the others have a worker
for each of the roles planner, reviewer, worker and compounder. The session is marked with its project; one without the
mark is never touched.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paneview import proc
from paneview.agents import strays
from paneview.cli import place
from paneview.cli.errors import FAILED, USAGE, CliError
from paneview.cli.output import clean, print_json
from paneview.config import paths
from paneview.config.load import load_project
from paneview.control.errors import NoSupervisor
from paneview.tmux import launch
from paneview.tmux.errors import TmuxError
from paneview.tmux.quote import command, literal_format

if TYPE_CHECKING:
    from paneview.cli.parser import Call
    from paneview.config.models import Project

ROLES = ("planner", "reviewer", "worker", "compounder")
PATIENCE = 10.0  # seconds for workers to end with their terminal
MARK, ROLE = "@paneview_workflow", "@paneview_role"


def workflow_setup(call: Call) -> int:
    """Start the session unless it exists, and go into it."""
    here = place.find(call, hint=place.FOR_WORKFLOWS)
    launch.check_version()
    project = load_project(Path(here.file), os.environ)
    name = call.text("session") or f"{project.name}-workflow"
    _check_name(name)
    key = paths.project_key(project.file)
    _supervised(here)
    created = not _is_ours(project, name, key)
    if created:
        _create(project, name, key)
    panes = _panes(project, name)
    argv = launch.attach_argv(f"={name}", project.tmux.socket, None, os.environ)
    if call.json:
        print_json({"ok": True, "session": name, "created": created, "panes": panes, "command": argv})
        return 0
    attaches = not call.flag("no-attach") and sys.stdin.isatty() and sys.stdout.isatty()
    if attaches:
        os.execvp(argv[0], argv)  # noqa: S606 - a list of arguments, no shell
    print(f"{'started' if created else 'found'} {clean(name)}: {', '.join(pane['title'] for pane in panes)}")
    print(f"go there with: {clean(shlex.join(argv))}")
    return 0


def workflow_teardown(call: Call) -> int:
    """End the session, its workers and their agents; workflows under way wait for the next ones."""
    here = place.find(call, hint=place.FOR_WORKFLOWS)
    project = load_project(Path(here.file), os.environ)
    name = call.words[0] if call.words else f"{project.name}-workflow"
    if not _is_ours(project, name, paths.project_key(project.file)):
        raise CliError(f"there is no session {name!r} of this project's workers", FAILED, code="not_found")
    panes = _panes(project, name)
    workers = [one for pane in panes if (one := proc.identify(pane["pid"])) is not None]
    others = set(_strays(here))
    launch.run_tmux(project.tmux.socket, "kill-session", "-t", f"={name}")
    _wait_for(workers)
    # A worker whose terminal is gone leaves its agent to the next worker, but here the agents must end as well. Agents
    # that had no worker before are left alone: a worker that is just being restarted is about to find its own.
    strays.end(folder for folder in _strays(here) if folder not in others)
    if call.json:
        print_json({"ok": True, "session": name, "ended": [pane["title"] for pane in panes]})
    else:
        print(f"ended {clean(name)}")
    return 0


def _wait_for(workers: list[proc.ProcessId]) -> None:
    until = time.monotonic() + PATIENCE
    while any(map(proc.is_alive, workers)) and time.monotonic() < until:
        time.sleep(0.02)


def _strays(here: place.Place) -> list[Path]:
    """The folders of the project's runs that are under way without a worker."""
    folders = [] if here.folder is None else strays.all_of(Path(here.folder))
    return [folder for folder in folders if strays.is_stray(folder)]


def _supervised(here: place.Place) -> None:
    try:
        here.hello()
    except NoSupervisor:
        from paneview.cli.launch import start_supervisor  # noqa: PLC0415

        start_supervisor(here, idle=True)


def _check_name(name: str) -> None:
    if not name or set(name) & set(":.") or not name.isprintable():
        raise CliError(f"{name!r} can't be a tmux session's name: no colon, no dot", USAGE, code="usage")


def _is_ours(project: Project, name: str, key: str) -> bool:
    """Whether the session exists. Raises CliError if it is not this project's."""
    try:
        launch.run_tmux(project.tmux.socket, "has-session", "-t", f"={name}")
    except TmuxError:
        return False
    mark = launch.run_tmux(project.tmux.socket, "show-options", "-t", f"={name}:", "-qv", MARK).strip()
    if mark != key:
        raise CliError(f"the tmux session {name!r} is not this project's", FAILED, "give another --session")
    return True


def _create(project: Project, name: str, key: str) -> None:
    me = [sys.executable, "-P", "-m", "paneview"]
    file = ["--file", str(project.file)]
    commands = {"orchestrator": [*me, "workflow", "watch", *file]}
    for role in ROLES:
        commands[role] = [*me, "worker", "--role", role, "--name", f"{name}-{role}"[:60], *file]
    env = [word for pair in launch.passed_on(os.environ).items() for word in ("-e", "=".join(pair))]
    folder, window = literal_format(str(project.root)), f"={name}:"
    size = ("-x", str(launch.WIDTH), "-y", str(launch.HEIGHT))
    new = ["new-session", "-d", "-s", name, "-n", "workflow", *size, "-c", folder, *env, "--"]
    split = ["split-window", "-t", window, "-c", folder, *env, "--"]
    (title, argv), *others = commands.items()
    # On the same line as the creation, so that the session is never visible without its mark.
    first = (
        command(*new, *argv),
        command("set-option", "-t", window, MARK, key),
        command("set-option", "-w", "-t", window, "remain-on-exit", "on"),
    )
    lines = [" ; ".join(first), command("set-option", "-p", "-t", window, ROLE, title)]
    for title, argv in others:
        lines += [
            command(*split, *argv),
            command("select-layout", "-t", window, "tiled"),
            command("set-option", "-p", "-t", window, ROLE, title),
        ]
    launch.run_tmux(
        project.tmux.socket, "start-server", ";", "source-file", "-", script="\n".join(lines) + "\n"
    )


def _panes(project: Project, name: str) -> list[dict[str, Any]]:
    form = f"#{{pane_id}} #{{pane_pid}} #{{{ROLE}}}"
    listing = launch.run_tmux(project.tmux.socket, "list-panes", "-t", f"={name}:", "-F", form)
    rows = [line.split(" ", 2) for line in listing.splitlines()]
    return [{"pane": pane, "pid": int(pid), "title": title} for pane, pid, title in rows]
