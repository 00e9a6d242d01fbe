"""``attach``: into a task's tmux window."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.cli import place
from paneview.cli.errors import CliError, unknown_task
from paneview.cli.output import print_json
from paneview.config import paths
from paneview.control.errors import NoSupervisor
from paneview.tmux import launch, visit

if TYPE_CHECKING:
    from paneview.cli.parser import Call


def attach(call: Call) -> int:
    """Replace this process by a tmux client that shows the task's window.

    With ``--json``, only print its command line.
    """
    here = place.find(call)
    task = call.words[0]
    session, socket = _session(here, task)
    launch.check_version()
    found = launch.find_session(session, socket, paths.project_key(Path(here.file)))
    window = launch.find_window(found.session_id, socket, task) if found else None
    if found is None or window is None:
        raise CliError(
            f"Task {task!r} has no window: it was not started yet", hint=f"'paneview start {task}'"
        )
    argv = launch.attach_argv(found.session_id, socket, window, os.environ)
    if call.json:
        print_json({"ok": True, "task": task, "session": session, "window_id": window, "command": argv})
        return 0
    if sys.stdin.isatty() and sys.stdout.isatty():
        if call.flag("back"):
            return _visit(argv, socket, found.session_id)
        os.execvp(argv[0], argv)  # noqa: S606 - a list of arguments, no shell
    raise CliError("attach needs a terminal", hint="'paneview logs' shows a task's output without one")


def _visit(argv: list[str], socket: str | None, session_id: str) -> int:
    """Show the window until ctrl+] is pressed. Inside tmux, the client only switches: then the key stays bound."""
    visit.allow_return(socket, session_id)
    status = subprocess.run(visit.with_hint(argv), check=False).returncode
    if "switch-client" not in argv:
        visit.forget_return(socket, session_id)
    return status


def _session(here: place.Place, task: str) -> tuple[str, str | None]:
    """The session's name and tmux socket, from the supervisor or else from the file.

    Checks the task's name.
    """
    try:
        hello = here.hello()
        here.ask("log_info", {"task": task})  # raises the supervisor's error for an unknown task
        return str(hello["session"]), hello.get("tmux_socket")
    except NoSupervisor:
        from paneview.config.load import load_project  # noqa: PLC0415

        project = load_project(Path(here.file), os.environ)
        if task not in project.tasks:
            replicas = [one.name for one in project.tasks.values() if one.base_name == task]
            hint = f"it has replicas: {', '.join(replicas[:3])}" if replicas else None
            raise unknown_task(task, project.tasks, hint) from None
        return project.name, project.tmux.socket
