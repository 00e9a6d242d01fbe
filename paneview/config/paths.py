"""Where a project's state lives: one folder per configuration file, private to the user.

The folder is ``<state home>/<name>-<key>``; the key is a short hash of the real path of the file's folder and the
file's name in it, so two checkouts of one project never meet, and the folder is found again without reading the file
(its name may have changed since). `locate` does the work with plain strings; it is what the command line's fast path
imports.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from paneview.config import locate
from paneview.config.names import NAME_LENGTH

LOCK_NAME = "supervisor.lock"


def state_home() -> Path:
    """The folder that holds one folder per project: ``$PANEVIEW_HOME``, else the XDG state folder."""
    return Path(locate.state_home())


def project_key(file: Path) -> str:
    """A short hash that tells this configuration file, with this state home, from every other on the machine."""
    return locate.project_key(file)


def find_project_dir(file: Path) -> Path | None:
    """The project's state folder, or None if no supervisor ever ran for this file and it never had a queue."""
    found = locate.find_project_dir(file)
    return Path(found) if found else None


def default_name(file: Path) -> str:
    """The project's name when the file gives none.

    In a paneview.toml it is the folder's name made safe for tmux. In a taskmux.toml it is "taskmux", as
    taskmux has it, so that `tmux attach -t taskmux` goes on working.
    """
    if file.name == "taskmux.toml":
        return "taskmux"
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", file.parent.name).strip("-")
    return safe[:NAME_LENGTH] or "paneview"


def project_dir(file: Path, name: str) -> Path:
    """The project's state folder, whether it exists or not."""
    return find_project_dir(file) or state_home() / f"{name}-{project_key(file)}"


def make_project_dir(file: Path, name: str) -> Path:
    """The project's state folder, created with mode 0700 if it does not exist."""
    return make_private(project_dir(file, name))


def make_private(folder: Path) -> Path:
    """A project's state folder; it and the folder around it are created with mode 0700 if they do not exist."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def control_socket(project_dir: Path) -> Path:
    """The control socket's path; a short one in a private folder if the natural one would be too long."""
    return Path(locate.control_socket(os.fspath(project_dir)))


def state_db(project_dir: Path) -> Path:
    """The database of tasks, runs and events."""
    return project_dir / "state.db"


def logs_db(project_dir: Path) -> Path:
    """The database of log chunks."""
    return project_dir / "logs.db"


def spool_dir(project_dir: Path) -> Path:
    """Output that left tmux and has not reached the log database yet."""
    return project_dir / "spool"


def exits_dir(project_dir: Path) -> Path:
    """One file per run with the exit code its guard saw."""
    return project_dir / "exits"


def lock_file(project_dir: Path) -> Path:
    """Held (flock) by the project's one supervisor for as long as it lives."""
    return project_dir / LOCK_NAME


def supervisor_log(project_dir: Path) -> Path:
    """The supervisor's own log, rotated."""
    return project_dir / "supervisor.log"


def token_file(project_dir: Path) -> Path:
    """The token of the WebSocket API, mode 0600."""
    return project_dir / "token"
