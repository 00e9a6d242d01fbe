"""``[queue]`` and ``[workers.NAME]``: from what the file says to settings, and to tasks, supervised like any other.

A worker becomes ``paneview worker …`` with everything about it on the command line, so that its pane and `inspect` show
what it is, and any change of it is a change of the task. What they must not show, the queue's URL with its password, is
passed in the environment.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path as FilePath
from urllib.parse import quote, unquote, urlsplit

from msgspec.structs import replace

from paneview.config.errors import ConfigError
from paneview.config.fields import given
from paneview.config.models import ProjectTable, Task, TaskTable, WorkerSpec, WorkerTable
from paneview.config.queue import LONGEST, SCHEMES, TOO_LONG, QueueSettings, read_dotenv, resolve, teller
from paneview.config.resolve import (
    MISSING,
    REPLICA_VARIABLE,
    Context,
    look_up,
    resolve_environment,
    resolve_path,
    resolve_task,
)
from paneview.config.validate import Path, nearest
from paneview.config.workflows.roles import Agents
from paneview.config.workflows.runners import check_runner

BROKER_VARIABLE = "PANEVIEW_BROKER"
_SAME = (
    "description", "group", "auto_start", "cwd", "depends_on", "env", "env_file", "stop_grace_period", "hooks",
)  # fmt: skip


def resolve_queue(
    context: Context, file: FilePath, table: ProjectTable, values: Mapping[str, str]
) -> QueueSettings:
    """The settings of the project's queue."""
    try:
        dotenv = read_dotenv(file.parent, values)
        settings = resolve({}, values, dotenv, given(table.queue), str(file))
    except ConfigError as error:
        context.problems += error.problems
        return QueueSettings()
    scheme = settings.broker.partition(":")[0]
    source = teller("broker", values, dotenv)
    place: Path = () if source else ("queue", "broker")
    named = f"{source}: broker" if source else "broker"
    if scheme not in SCHEMES:
        message = f"{named} {scheme!r} is not one of {', '.join(SCHEMES)}"
        context.complain(place, message, nearest(scheme, SCHEMES))
    try:
        parts = urlsplit(settings.broker)
    except ValueError:  # whose text may hold the password
        message = f"{named} is not a URL: {scheme}://…"
        context.complain(place, message, "percent-encode the password: [ as %5B, ] as %5D")
        return QueueSettings()
    if "\0" in unquote(parts.path):
        context.complain(place, f"{named}: the path holds a NUL character")
    return settings


def resolve_workers(
    context: Context,
    table: ProjectTable,
    project_env: Mapping[str, str],
    replicas: Mapping[str, int],
    queue: QueueSettings,
    agents: Agents,
    file: FilePath,
) -> dict[str, tuple[Task, TaskTable]]:
    """Each worker, or replica of one, as a task, with the table it would have as a task."""
    context.workers = frozenset(table.workers) - frozenset(table.tasks)
    found: dict[str, tuple[Task, TaskTable]] = {}
    for name, worker in table.workers.items():
        if name in table.tasks:
            context.complain(("workers", name), f"{name!r} is already the name of a task", at_key=True)
            continue
        if worker.runner is not None:
            check_runner(context, ("workers", name, "runner"), worker.runner, agents.runners)
        count = replicas.get(name, worker.replicas)
        for number in [None] if count is None else range(1, count + 1):
            made, roles = _as_task_table(context, name, worker, number, project_env, file)
            _check_lanes(context, ("workers", name, "role"), roles, queue)
            task = resolve_task(context, name, made, number, {BROKER_VARIABLE: queue.broker, **project_env})
            spec = WorkerSpec(
                roles=roles, respawn_limit=queue.respawn_limit, respawn_window=queue.respawn_window
            )
            found[task.name] = replace(task, worker=spec), made
    return found


def url_secrets(url: str) -> frozenset[str]:
    """The password in a queue's URL, as written and decoded."""
    password = urlsplit(url).password
    return frozenset({password, unquote(password)}) if password else frozenset()


def _as_task_table(
    context: Context,
    name: str,
    worker: WorkerTable,
    replica: int | None,
    project_env: Mapping[str, str],
    file: FilePath,
) -> tuple[TaskTable, tuple[str, ...]]:
    """The table that a worker would have as a task, and its roles."""
    path: Path = ("workers", name)
    values = {**context.environ, **project_env, **({REPLICA_VARIABLE: str(replica)} if replica else {})}
    values |= resolve_environment(context, path, worker.env, worker.env_file, values)

    def text(field: str, value: str) -> str:
        return context.text((*path, field), value, values)

    written = [worker.role] if isinstance(worker.role, str) else worker.role
    roles = tuple(_role(context, (*path, "role"), text("role", role)) for role in written)
    argv = [sys.executable, "-P", "-m", "paneview", "worker"]
    for role in roles:
        argv += ["--role", role]
    if worker.concurrency != 1:
        argv += ["--concurrency", str(worker.concurrency)]
    argv += ["--command", shlex.join(text("command", word) for word in worker.command)]
    if not worker.command:
        context.complain((*path, "command"), "command is empty")
    if worker.runner is not None:
        argv += ["--runner", worker.runner]
    for module in worker.handlers:
        argv += ["--handlers", text("handlers", module)]
    for folder in worker.allow:
        argv += ["--allow", str(_allowed(context, (*path, "allow"), text("allow", folder)))]
    argv += ["--file", str(file)]
    same = {field: getattr(worker, field) for field in _SAME}
    # It gets SIGINT, and SIGTERM when the grace period is over: then it hands back what it has not finished.
    return TaskTable(**same, command=shlex.join(argv), restart_policy="on-failure"), roles


def _role(context: Context, path: Path, role: str) -> str:
    if not context.unfinished(role) and (role.split() != [role] or set(role) & set("@/\\") or len(role) > 64):
        context.complain(path, f"role {role!r} holds a space, @ or a slash, or is longer than 64 characters")
    return role


def _check_lanes(context: Context, path: Path, roles: tuple[str, ...], queue: QueueSettings) -> None:
    """Complain about roles that a shared folder cannot have a folder for."""
    for role in roles if queue.broker.startswith("dir:") else ():
        lane = quote(f"r:{role}@{queue.here}", safe="").replace(".", "%2E")
        if len(lane) > LONGEST and not context.unfinished(role):
            context.complain(
                path, f"role {role!r} on {queue.here!r} is too long for a shared folder: {TOO_LONG}"
            )


def _allowed(context: Context, path: Path, text: str) -> FilePath:
    folder = resolve_path(context, text)
    mode, reason = look_up(folder)
    if not stat.S_ISDIR(mode) and not context.unfinished(text):
        reason = "is not a folder" if reason in ("", MISSING) else reason
        context.complain(path, f"allow {os.fspath(folder)!r} {reason}")
    return folder
