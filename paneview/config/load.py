"""Reading a configuration file: all of it right, or a ConfigError that names every mistake with its line.

``load_project`` reads the whole file. The steps: TOML (tomllib), types and ranges (`validate`), variables,
paths and content (`resolve`), conflicts between tasks (`relations`). The text is scanned for positions only
when there is something to complain about.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from paneview.config.errors import ConfigError, Problem
from paneview.config.models import Project, ProjectTable, Task, TmuxSettings
from paneview.config.names import NAME_LENGTH
from paneview.config.nesting import DEEPEST, is_too_deep, too_deep_at
from paneview.config.paths import default_name
from paneview.config.reading import read_file
from paneview.config.relations import (
    check_dependencies,
    check_log_files,
    check_sharing,
    expand_dependencies,
)
from paneview.config.resolve import Context, check_commands, resolve_environment, resolve_task
from paneview.config.secrets import secret_values
from paneview.config.validate import TABLES, Complaint, validate
from paneview.config.workers import resolve_queue, resolve_workers, url_secrets
from paneview.config.workflows.roles import Agents
from paneview.config.workflows.runners import resolve_agents
from paneview.config.workflows.tables import resolve_workflows
from paneview.config.written import mark

_SESSION_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_ -]{{0,{NAME_LENGTH - 1}}}")
TASKMUX = "taskmux.toml"
_FOR_AGENTS = ("runners", "roles", "secrets", "env", "env_file")
_LONG_NUMBER = re.compile(r"[0-9][0-9_]{4000,}")
# What newcomers to TOML do not know, by what its parser says and by what stands before the place.
_QUOTES = "text stands in quotes; numbers, true and false do without"
_HOLDS_QUOTES = "a text that holds quotes stands between ''' and '''"
_HINTS = [
    (re.compile("Invalid value"), re.compile(""), _QUOTES),
    (re.compile("Expected newline"), re.compile(r"=\s*[0-9.]+\s*$"), _QUOTES),
    (re.compile("Expected newline"), re.compile("[\"'][^\"']*$"), _HOLDS_QUOTES),
    (
        re.compile(r"Illegal character '\\n'"),
        re.compile(""),
        "a text of several lines stands between ''' and '''",
    ),
    (re.compile(r"Unescaped|Invalid hex"), re.compile(""), "between '…' a backslash means nothing special"),
]
_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")


def load_project(
    path: Path, environ: Mapping[str, str], *, replicas: Mapping[str, int] | None = None
) -> Project:
    """Read `path`, with ``${VAR}`` from `environ`. `replicas` overrides the file's (`paneview scale`).

    Raises ConfigError with every mistake found.
    """
    return parse_project(_content(path), path, environ, replicas=replicas)


def _content(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise ConfigError(Problem(str(path), None, None, f"can't be read: {error.strerror}")) from error


def parse_project(
    content: bytes, path: Path, environ: Mapping[str, str], *, replicas: Mapping[str, int] | None = None
) -> Project:
    """Like `load_project`, for a `content` that need not be in the file yet."""
    file = Path(os.path.abspath(path))
    text, data = parse_toml(content, path)
    if file.name == TASKMUX:
        data = _with_whole_tasks(data)
    table, complaints = validate(data)
    context = Context(file.parent, environ)
    context.complaints += complaints
    project = _resolve(context, file, table, data, replicas or {})
    if context.complaints or context.problems:
        raise ConfigError(*_problems(context, text, str(path)))
    tasks = {
        name: replace(task, written=mark(task, data, file.parent)) for name, task in project.tasks.items()
    }
    return replace(project, tasks=tasks)


def load_agents(path: Path, environ: Mapping[str, str]) -> tuple[Agents, tuple[str, ...]]:
    """The runners and roles of `path`, and the patterns of its secrets' names; mistakes in its tasks do not matter.

    Raises ConfigError.
    """
    text, data = parse_toml(_content(path), path)
    table, complaints = validate({key: data[key] for key in _FOR_AGENTS if key in data})
    context = Context(path.parent, environ)
    context.complaints += complaints
    env = resolve_environment(context, (), table.env, table.env_file, environ)
    agents = resolve_agents(context, table.runners, table.roles, env)
    if context.complaints or context.problems:
        raise ConfigError(*_problems(context, text, str(path)))
    return agents, table.secrets.patterns


def parse_toml(content: bytes, path: Path) -> tuple[str, dict[str, Any]]:
    """The text and its data. Raises ConfigError with the place of a syntax error."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigError(Problem(str(path), line, column, "is not UTF-8 text")) from error
    if text.startswith("\ufeff"):
        raise ConfigError(
            Problem(str(path), 1, 1, "begins with a byte order mark", "save it as UTF-8 without one")
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_problem(str(error), text, str(path))) from error
    except ValueError as error:  # a number with more digits than Python takes
        number = _LONG_NUMBER.search(text)
        place = _position(text, number.start() if number else 0)
        message = "this number is too long" if number else str(error)
        raise ConfigError(Problem(str(path), *place, message)) from error
    except RecursionError:
        data = None
    if data is None or is_too_deep(data):
        message = f"tables and lists are nested more than {DEEPEST} deep here"
        raise ConfigError(Problem(str(path), *_position(text, too_deep_at(text)), message))
    return text, data


def _with_whole_tasks(data: dict[str, Any]) -> dict[str, Any]:
    """``web = "npm start"`` as a table with a command: taskmux takes both."""
    tasks = data.get("tasks")
    if not isinstance(tasks, dict):
        return data
    whole = {name: {"command": task} if isinstance(task, str) else task for name, task in tasks.items()}
    return {**data, "tasks": whole}


def _position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _syntax_problem(error: str, text: str, file: str) -> Problem:
    match = _PLACE.search(error)
    lines = text.split("\n")
    line, column = (int(match[1]), int(match[2])) if match and match[1] else (len(lines), len(lines[-1]) + 1)
    message = error[: match.start()] if match else error
    before = lines[line - 1][: column - 1]
    hint = next((hint for said, left, hint in _HINTS if said.match(message) and left.search(before)), None)
    if declared := re.search(r"declare \((.*)\) twice|overwrite a value", message):
        keys = re.findall(r"'([^']*)'", declared[1] or "")
        message = f"[{'.'.join(keys)}] is defined twice" if keys else "this key is defined twice"
    return Problem(file, line, column, message[:1].lower() + message[1:], hint)


def _resolve(
    context: Context, file: Path, table: ProjectTable, data: Mapping[str, Any], replicas: Mapping[str, int]
) -> Project:
    outer = context.environ
    env = resolve_environment(context, (), table.env, table.env_file, outer)
    values = {**outer, **env}
    tasks: dict[str, Task] = {}
    for name, task_table in table.tasks.items():
        count = replicas.get(name, task_table.replicas)
        for number in [None] if count is None else range(1, count + 1):
            task = resolve_task(context, name, task_table, number, env)
            tasks[task.name] = replace(task, checks_cwd=file.parent) if file.name == TASKMUX else task
    queue = resolve_queue(context, file, table, outer)
    agents = resolve_agents(context, table.runners, table.roles, env)
    workers = resolve_workers(context, table, env, replicas, queue, agents, file)
    tasks.update({name: worker for name, (worker, _) in workers.items()})
    # The project's hooks run in the environment of the task they run for, which may be any.
    any_task = {name: value for task in tasks.values() for name, value in task.env.items()}
    check_commands(context, ("hooks",), table.hooks, {**any_task, **values})
    named = [name for key in ("tasks", "workers") if isinstance(data.get(key), dict) for name in data[key]]
    tables = {**table.tasks, **{worker.base_name: made for worker, made in workers.values()}}
    check_dependencies(context, tables, named)
    check_sharing(context, tasks)
    check_log_files(context, tasks, file)
    own = [env, *(task.env for task in tasks.values()), *(one.env for one in agents.runners.values())]
    return Project(
        name=_session_name(context, file, table.name, values),
        file=file,
        root=file.parent,
        auto_start=table.auto_start,
        env=env,
        hooks=table.hooks,
        tmux=_tmux(context, table, values),
        websocket=table.websocket,
        queue=queue,
        has_queue="queue" in data or bool(workers),
        agents=agents,
        workflows=resolve_workflows(context, table.workflows, agents),
        secret_patterns=table.secrets.patterns,
        secret_values=secret_values(own, context.environ, table.secrets.patterns) | url_secrets(queue.broker),
        tasks=expand_dependencies(tasks),
    )


def _session_name(context: Context, file: Path, given: str | None, values: Mapping[str, str]) -> str:
    if given is None:
        return default_name(file)
    name = context.text(("name",), given, values)
    if not _SESSION_NAME.fullmatch(name):
        hint = f"letters, digits, _, - and spaces, {NAME_LENGTH} at most, starting with a letter, digit or _"
        context.complain(("name",), f"name {name!r} can't be used for a tmux session", hint)
    return name


def _tmux(context: Context, table: ProjectTable, values: Mapping[str, str]) -> TmuxSettings:
    socket = table.tmux.socket
    if socket is None:
        return table.tmux
    place = ("tmux", "socket")
    name = context.text(place, socket, values)
    if "/" in name and not name.startswith("/"):
        context.complain(place, f"tmux socket {name!r} is neither a name nor an absolute path")
    return replace(table.tmux, socket=name)


def _problems(context: Context, text: str, file: str) -> list[Problem]:
    from paneview.config.editing.scan import scan  # noqa: PLC0415 - only when something is wrong

    document = scan(text)

    def locate(complaint: Complaint) -> Problem:
        path, message = complaint.path, complaint.message
        if len(path) > 2 and path[0] in TABLES and repr(path[1]) not in message:
            message = f"{TABLES[path[0]]} {path[1]!r}: {message}"
        exact = path in document.spans
        while path and path not in document.spans:
            path = path[:-1]
        if not path:
            return Problem(file, 1, 1, message, complaint.hint)
        span = document.spans[path]
        line, column = document.position(span.key if complaint.at_key or not exact else span.value)
        return Problem(file, line, column, message, complaint.hint)

    found = sorted(map(locate, context.complaints), key=lambda p: (p.line or 0, p.column or 0))
    return [*found, *context.problems]
