"""From the tables of the file to the tasks that run: ``${VAR}``, paths, sizes, probes, replicas.

Every check that needs more than a value's type and range is here or in `relations`. Complaints are collected,
not raised: one bad path must not hide the next. If there are complaints, the result is not used, only checked
further.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from paneview import patterns
from paneview.config.errors import ConfigError, Problem
from paneview.config.fields import given
from paneview.config.interpolate import InterpolationError, interpolate, undefined_in_command, unset
from paneview.config.models import Dependency, Hooks, Task, TaskFields, TaskTable
from paneview.config.units import parse_duration, parse_size
from paneview.config.validate import Complaint, Path

PROBES = ("health_check", "health_url", "health_tcp", "health_log")
REPLICA_VARIABLE = "PANEVIEW_REPLICA"
TASK_COMMANDS = ("command", "health_check")
HOOK_COMMANDS = tuple(name for name in Hooks.__struct_fields__ if name != "timeout")
RESERVED_VARIABLES = ("PANEVIEW_RUN", REPLICA_VARIABLE)
MISSING = "does not exist"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SAME_IN_BOTH = frozenset(TaskFields.__struct_fields__) - {"command", "hooks", "health_check"}
_T = TypeVar("_T")


class Context:
    """What resolving needs, and the complaints so far."""

    def __init__(self, root: FilePath, environ: Mapping[str, str]) -> None:
        self.root = root
        self.environ = environ
        self.complaints: list[Complaint] = []
        self.problems: list[Problem] = []  # in other files: an env_file
        self.workers: frozenset[str] = frozenset()  # tables that stand under `workers`, not `tasks`
        self._env_files: dict[FilePath, dict[str, str]] = {}

    def complain(self, path: Path, message: str, hint: str | None = None, *, at_key: bool = False) -> None:
        """Note a mistake at `path` of the document."""
        if path[:1] == ("tasks",) and path[1] in self.workers:
            path = ("workers", *path[1:])
        complaint = Complaint(path, message, hint, at_key)
        if complaint not in self.complaints:  # replicas share the lines of the file
            self.complaints.append(complaint)

    def has_complaints(self, path: Path) -> bool:
        """Whether there is a mistake at `path` or below it, so that what is wrong there was left out."""
        return any(complaint.path[: len(path)] == path for complaint in self.complaints)

    def text(self, path: Path, text: str, values: Mapping[str, str]) -> str:
        """`text` with ``${VAR}`` replaced."""
        try:
            return interpolate(text, values)
        except InterpolationError as error:
            self.complain(path, str(error), error.hint)
            return text

    def unfinished(self, text: str) -> bool:
        """Whether `text` still holds a ``${VAR}`` that was complained about, so that checking it makes no sense."""
        return "${" in text and bool(self.complaints)

    def convert(self, path: Path, convert: Callable[[str], _T], text: str, fallback: _T) -> _T:
        """What `convert` makes of `text`; if it raises ValueError, that is a complaint and the result `fallback`."""
        if self.unfinished(text):
            return fallback
        try:
            return convert(text)
        except ValueError as error:
            self.complain(path, f"{path[-1]}: {error}")
            return fallback

    def env_file(self, file: FilePath, path: Path) -> dict[str, str]:
        """The variables of an env_file, read once however many tasks share it."""
        if file not in self._env_files:
            from paneview.config.envfile import read_env_file  # noqa: PLC0415 - few files need its parser

            self._env_files[file] = {}
            try:
                self._env_files[file] = read_env_file(file, self.environ)
            except OSError as error:
                gone = isinstance(error, FileNotFoundError)
                reason = MISSING if gone else f"can't be read: {error.strerror}"
                if not self.unfinished(str(file)):
                    self.complain(path, f"env_file {str(file)!r} {reason}")
            except ConfigError as error:
                self.problems += error.problems
        return self._env_files[file]


def resolve_environment(
    context: Context, path: Path, env: Mapping[str, str], env_file: str | None, outer: Mapping[str, str]
) -> dict[str, str]:
    """What `env_file` and `env` of one table add. `outer` is the environment around it, for their ``${VAR}``."""
    added: dict[str, str] = {}
    if env_file is not None:
        name = context.text((*path, "env_file"), env_file, outer)
        added.update(context.env_file(resolve_path(context, name), (*path, "env_file")))
    for key, value in env.items():
        place = (*path, "env", key)
        if not _ENV_NAME.fullmatch(key):
            context.complain(place, f"{key!r} is not a name for an environment variable", at_key=True)
        elif key in RESERVED_VARIABLES:
            context.complain(place, f"{key} is set by paneview itself", at_key=True)
        added[key] = context.text(place, value, {**outer, **added})
    return added


def resolve_path(context: Context, text: str) -> FilePath:
    """Absolute, against the file's folder; ``~`` is the home folder."""
    try:
        path = FilePath(text).expanduser()
    except RuntimeError:  # no such user
        path = FilePath(text)
    return FilePath(os.path.normpath(context.root / path))


def look_up(path: FilePath) -> tuple[int, str]:
    """The mode of what is at `path`, and ""; if it cannot be looked at, 0 and why."""
    try:
        return path.stat().st_mode, ""
    except (FileNotFoundError, NotADirectoryError):
        return 0, MISSING
    except OSError as error:
        return 0, f"can't be looked at: {error.strerror}"


def check_commands(context: Context, path: Path, table: TaskTable | Hooks, values: Mapping[str, str]) -> None:
    """Complain about variables in shell commands that nothing sets."""
    for name in TASK_COMMANDS if isinstance(table, TaskTable) else HOOK_COMMANDS:
        command = getattr(table, name)
        if command is None:
            continue
        for variable in undefined_in_command(command, values):
            error = unset(variable)
            context.complain((*path, name), str(error), error.hint)


def resolve_task(
    context: Context, base_name: str, table: TaskTable, replica: int | None, project_env: Mapping[str, str]
) -> Task:
    """One task, or one replica of it; its `depends_on` still names tasks as the file does."""
    path: Path = ("tasks", base_name)
    outer = {**context.environ, **project_env}
    if replica is not None:
        outer[REPLICA_VARIABLE] = str(replica)
    own = resolve_environment(context, path, table.env, table.env_file, outer)
    env = {**project_env, **own}
    if replica is not None:
        env[REPLICA_VARIABLE] = str(replica)
    values = {**outer, **own}
    check_commands(context, path, table, values)
    check_commands(context, (*path, "hooks"), table.hooks, values)

    def text(name: str) -> str | None:
        value = getattr(table, name)
        return value if not isinstance(value, str) else context.text((*path, name), value, values)

    fields: dict[str, Any] = {name: text(name) for name in _SAME_IN_BOTH}
    fields |= {"command": table.command, "hooks": table.hooks, "health_check": table.health_check}
    fields |= {
        "name": base_name if replica is None else f"{base_name}.{replica}",
        "base_name": base_name,
        "replica": replica,
        "env": env,
        "env_file": None if table.env_file is None else resolve_path(context, text("env_file") or ""),
        "cwd": _folder(context, (*path, "cwd"), text("cwd")),
        "depends_on": tuple(
            item if isinstance(item, Dependency) else Dependency(task=item) for item in table.depends_on
        ),
        "log_file": _log_file(context, (*path, "log_file"), text("log_file")),
        "log_max_size": _unit(context, (*path, "log_max_size"), text("log_max_size"), parse_size),
        "log_max_age": _unit(context, (*path, "log_max_age"), text("log_max_age"), parse_duration),
    }
    fields |= _probe(context, path, table, text)
    for number, pattern in enumerate(table.input_patterns or ()):
        context.convert((*path, "input_patterns", number), _regex, pattern, None)
    _check_schedule(context, (*path, "schedule"), fields["schedule"])
    return Task(**fields)


def _folder(context: Context, path: Path, text: str | None) -> FilePath:
    if text is None:
        return context.root
    folder = resolve_path(context, text)
    mode, reason = look_up(folder)
    if not stat.S_ISDIR(mode) and not context.unfinished(text):
        reason = reason or "is not a folder"
        hint = "write ${NAME} for a variable" if "$" in text else None
        context.complain(path, f"cwd {str(folder)!r} {reason}", hint)
    return folder


def _log_file(context: Context, path: Path, text: str | None) -> FilePath | None:
    if text is None:
        return None
    file = resolve_path(context, text)
    mode, reason = look_up(file)
    if stat.S_ISDIR(mode):
        context.complain(path, f"log_file {str(file)!r} is a folder")
    elif mode and not stat.S_ISREG(mode):
        hint = "leave log_file out where no file is wanted: the log is stored anyway"
        context.complain(path, f"log_file {str(file)!r} is not a regular file", hint)
    elif reason and reason != MISSING:
        context.complain(path, f"log_file {str(file)!r} {reason}")
    return file


def _unit(context: Context, path: Path, value: Any, parse: Callable[[str], Any]) -> Any:
    return context.convert(path, parse, value, 1) if isinstance(value, str) else value


def _check_schedule(context: Context, path: Path, expression: str | None) -> None:
    if expression is not None:
        from paneview.config.schedule import next_time  # noqa: PLC0415 - few tasks have a schedule

        context.convert(path, lambda text: next_time(text, 0.0), expression, None)


def _probe(
    context: Context, path: Path, table: TaskTable, text: Callable[[str], str | None]
) -> dict[str, Any]:
    kinds = [name for name in PROBES if getattr(table, name) is not None]
    for extra in kinds[1:]:
        context.complain(
            (*path, extra), f"{extra} beside {kinds[0]}: a task has one kind of probe", at_key=True
        )
    said = given(table)
    for name in ("health_status", "health_body"):
        if name in said and table.health_url is None:
            context.complain((*path, name), f"{name} is for health_url, which is not set", at_key=True)
    for name in ("health_body", "health_log"):
        if (pattern := text(name)) is not None:
            context.convert((*path, name), _regex, pattern, None)
    if (url := text("health_url")) is not None:
        context.convert((*path, "health_url"), check_url, url, None)
    address = table.health_tcp if isinstance(table.health_tcp, int | None) else text("health_tcp")
    tcp = None if address is None else context.convert((*path, "health_tcp"), tcp_address, str(address), "")
    statuses: tuple[tuple[int, int], ...] = ()
    listed = table.health_status if isinstance(table.health_status, list) else [table.health_status]
    if not listed:
        context.complain(
            (*path, "health_status"), "health_status is an empty list: no answer would be healthy"
        )
    for item in listed:
        whole = (
            item if isinstance(item, int) else context.text((*path, "health_status"), item, context.environ)
        )
        statuses += (context.convert((*path, "health_status"), status_range, str(whole), (200, 399)),)
    return {"health_tcp": tcp, "health_status": statuses}


def _regex(pattern: str) -> None:
    try:
        patterns.check(pattern)
    except patterns.PatternError as error:
        raise ValueError(str(error)) from error


def check_url(url: str) -> None:
    """Raise ValueError unless `url` can be probed."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port != 0  # reading it checks it
    except ValueError as error:
        raise ValueError(f"{url!r} is not an address: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_right:
        raise ValueError(f"{url!r} is not an address: write it as http://localhost:8000/path")
    if parts.username is not None:
        raise ValueError("a user name in the address is not supported; use health_check with curl")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise ValueError(f"{url!r} holds a space or control character")


def tcp_address(text: str) -> str:
    """``host:port`` of ``host:port``, ``[::1]:port``, ``:port`` or ``port``. Raises ValueError."""
    host, _, port = text.strip().rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    is_host = not re.search(r"[\s/\[\]]", bare) and (":" not in bare or host.startswith("["))
    if not is_host or not re.fullmatch(r"\d{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is not an address: write host:port, port from 1 to 65535")
    return f"{host or 'localhost'}:{int(port)}"


def status_range(text: str) -> tuple[int, int]:
    """``200`` or ``200-299`` as a pair, both ends included. Raises ValueError."""
    match = re.fullmatch(r"\s*(\d{3})\s*(?:-\s*(\d{3})\s*)?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 100 <= low <= high <= 599:
        raise ValueError(f'{text!r} is not a status: write 200, or a range such as "200-299"')
    return low, high
