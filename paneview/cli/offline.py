"""What is known of a project while no supervisor runs, from its file and from what the last supervisor stored.

Nothing is decided here. A task whose process is still alive is shown as running; it is up to the next supervisor to
handle those that have ended meanwhile.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from paneview.cli.errors import CliError
from paneview.config import paths
from paneview.config.load import load_project
from paneview.config.secrets import Masker
from paneview.proc import ProcessId, boot_id, is_alive
from paneview.rules.states import TaskPhase, TaskState
from paneview.store.database import StoreError
from paneview.store.ingest import LogIngest
from paneview.store.reader import LogReader
from paneview.store.state_reader import SyncStateReader
from paneview.store.state_schema import EventFilter
from paneview.supervisor.clients.views import Facts, Why, task_view
from paneview.tmux.guard import command_pid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paneview.config.models import Task
    from paneview.store.rows import RunRow

_NO_SUPERVISOR = "no supervisor is running"
_PENDING = {TaskPhase.WAITING, TaskPhase.BACKOFF}


def stored_status(file: str, folder: str | None) -> dict[str, Any]:
    """The status object with ``"running": false``. Raises ConfigError, StoreError."""
    project = load_project(Path(file), os.environ)
    states: dict[str, TaskState] = {}
    runs: dict[str, RunRow] = {}
    if folder and paths.state_db(Path(folder)).exists():
        with SyncStateReader(paths.state_db(Path(folder))) as reader:
            stored = reader.tasks()
            states = {name: TaskState.from_dict(stored[name]) for name in project.tasks if name in stored}
            runs = {run.task: run for run in sorted(reader.current_runs(), key=lambda run: run.id)}
    masker = Masker(project.secret_patterns, project.secret_values)
    tasks = [
        _view(task, states.get(name, TaskState()), runs.get(name), masker)
        for name, task in project.tasks.items()
    ]
    return {
        "session": project.name,
        "running": False,
        "active_tasks": sum(task["running"] for task in tasks),
        "file": str(project.file),
        "supervisor": None,
        "tasks": tasks,
    }


def _view(task: Task, state: TaskState, run: RunRow | None, masker: Masker) -> dict[str, Any]:
    process = _process(run) if state.phase.active else None
    reason = cause = state.reason
    if state.phase.active and process is None:
        state = replace(state, phase=TaskPhase.FAILED, ready=False)
        reason = cause = f"it ended while {_NO_SUPERVISOR}"
    elif state.phase in _PENDING:
        reason = f"{cause}; {_NO_SUPERVISOR}" if cause else _NO_SUPERVISOR
    facts = Facts(
        Why(reason, cause),
        running=process is not None,
        pid=command_pid(process.pid) if process else None,
        window_id=run.window_id if run else None,
        pane_id=run.pane_id if run else None,
    )
    return task_view(task, state, facts, masker)


def _process(run: RunRow | None) -> ProcessId | None:
    """The run's process, if exactly that one is still alive."""
    if run is None or run.pid is None or run.start_ticks is None or run.boot_id != boot_id():
        return None
    process = ProcessId(run.pid, run.start_ticks)
    return process if is_alive(process) else None


def stored_events(file: str, folder: str | None, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Events as the supervisor would send them, secrets masked. Raises ConfigError, StoreError."""
    project = load_project(Path(file), os.environ)
    if folder is None:
        return []
    filter_ = EventFilter(
        task=wanted["task"],
        kinds=wanted["kinds"],
        since=wanted["since"],
        until=wanted["until"],
        limit=wanted["limit"] or 0,
    )
    try:
        with SyncStateReader(paths.state_db(Path(folder))) as reader:
            rows = list(reader.every_event(filter_)) if wanted["limit"] is None else reader.events(filter_)
    except StoreError:
        if paths.state_db(Path(folder)).exists():
            raise
        return []
    masker = Masker(project.secret_patterns, project.secret_values)
    return [row.masked(masker).to_json(project.name) for row in rows]


def clean_logs(folder: str | None, tasks: list[str] | None) -> list[str]:
    """Delete the stored output of these tasks (None: of all); returns their names.

    Holds the supervisor's lock, since only its holder may write the store. Raises CliError if a supervisor is just
    starting or ending, and so has it.
    """
    if folder is None:
        return []
    where = Path(folder)
    descriptor = os.open(paths.lock_file(where), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CliError("a supervisor is just starting or ending", hint="try again", code="busy") from None
    try:
        with LogReader(paths.logs_db(where), paths.spool_dir(where)) as reader:
            names = [name for name in reader.tasks() if tasks is None or name in tasks]
        ingest = LogIngest(paths.logs_db(where), paths.spool_dir(where))
        ingest.start()
        try:
            for name in names:
                ingest.logs_clean(name).result()
        finally:
            ingest.stop()
    finally:
        os.close(descriptor)
    return names
