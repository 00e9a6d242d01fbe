"""The folder of a run: everything about it, private to the user, found by the job's id.

===============  =====================================================================================================
``request``      what the shim must do (JSON); without the environment, which holds secrets
``prompt``       the agent's standard input; secrets in it are masked once the agent has opened it
``shim``         the processes of the run, and the agent's session (JSON)
``transcript``   what the agent printed, line by line, secrets masked
``shown``        the same, made readable: what is shown in the pane
``errors``       the agent's standard error
``outcome``      how it ended (JSON): written whole or not at all
``again``        how the next attempt of the same job goes on, and what earlier ones have used (JSON)
===============  =====================================================================================================

Two locks: the worker that waits for the run holds ``attended``, so that no other one does; the shim holds ``running``,
so that there is never a second agent.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paneview.agents.model import RunOutcome
from paneview.config.reading import load_json

REQUEST, PROMPT, SHIM, OUTCOME, AGAIN = (
    "request.json",
    "prompt.txt",
    "shim.json",
    "outcome.json",
    "again.json",
)
TRANSCRIPT, SHOWN, ERRORS, LOG = "transcript.jsonl", "shown.log", "errors.log", "shim.log"
ATTENDED, RUNNING = "attended.lock", "running.lock"
RUNS = "runs"
WORKTREES = "worktrees"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def runs_dir(state: Path) -> Path:
    """The parent of all runs' folders, in a project's state folder."""
    return state / RUNS


def worktrees_dir(state: Path) -> Path:
    """The parent of the workflows' worktrees, in which agents may always run."""
    return state / WORKTREES


def run_folder(state: Path, run: str) -> Path:
    """The folder of a run, which may not exist. Raises ValueError for an invalid id."""
    if not _ID.fullmatch(run):
        raise ValueError(f"{run!r} is not the id of a run")
    return runs_dir(state) / run


def make(folder: Path) -> Path:
    """Create a run's folder, mode 0700. Raises OSError."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)
    return folder


def write(file: Path, content: str, *, durable: bool = False) -> None:
    """Write a file whole or not at all, mode 0600; with ``durable``, it is on disk when this returns."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content.encode("utf-8", "replace"))
        if durable:
            out.flush()
            os.fsync(out.fileno())
    os.replace(draft, file)
    if durable:
        place = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def write_json(file: Path, value: Mapping[str, Any], *, durable: bool = False) -> None:
    """`write` a JSON object."""
    write(file, json.dumps(value), durable=durable)


def read_json(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is none."""
    try:
        found = load_json(file.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def earlier(folder: Path) -> RunOutcome | None:
    """The usage of earlier, unreported attempts of the same job; None if there were none."""
    try:
        return RunOutcome.from_json((read_json(folder / AGAIN) or {})["used"])
    except (ValueError, TypeError, KeyError):
        return None


def with_earlier(folder: Path, outcome: RunOutcome) -> RunOutcome:
    """The outcome with the usage of all attempts of its job."""
    before = earlier(folder)
    return outcome if before is None else outcome.after(before)._replace(earlier=before.earlier)


def append(file: Path) -> int:
    """A descriptor for appending to a file, mode 0600."""
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def lock(file: Path) -> int | None:
    """Take a lock; returns the descriptor that holds it until closed, None if another process has it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def is_locked(file: Path) -> bool:
    """Whether any process holds the lock."""
    descriptor = lock(file)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None
