"""Settings of the queue and its workers: one table, one precedence.

A setting comes from the first of these that has it: the flag on the command line, the environment, ``.env`` in the
project's folder (without a project: in this one), ``[queue]`` in the file, the default. Each is called
``PANEVIEW_NAME`` in the environment; where PaneBus has the same setting, its ``PANEBUS_NAME`` is read as well, after
ours. Only these names are taken from ``.env``.

The file is read here as bare TOML, since a command that sends one job has no time for the models. They check the
same table, more strictly, whenever the whole project is read.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from paneview.config import locate, paths
from paneview.config.errors import ConfigError, Problem
from paneview.config.interpolate import InterpolationError, interpolate
from paneview.config.reading import read_file

N = TypeVar("N", int, float)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def host_name() -> str:
    """This machine's name, by which jobs are addressed to it."""
    return socket.gethostname() or "localhost"


class QueueSettings(NamedTuple):
    """All settings; durations in seconds."""

    broker: str = "sqlite:"
    """The queue's URL."""
    host: str = ""
    """The name under which this host takes jobs; empty: the machine's."""
    heartbeat_interval: float = 10.0
    heartbeat_ttl: float = 60.0
    command_timeout: float = 300.0
    lease: float = 60.0
    max_attempts: int = 3
    max_queue_depth: int = 100
    """Jobs that may wait for one target; 0: any number."""
    respawn_limit: int = 5
    respawn_window: float = 300.0
    log_level: str = "INFO"

    @property
    def here(self) -> str:
        """The name under which this host takes jobs."""
        return self.host or host_name()


# The bounds of the numbers, also for the file's table (`QueueTable`). Durations in seconds.
LEAST = {
    "heartbeat_interval": 0.01, "heartbeat_ttl": 0.05, "command_timeout": 0.001, "lease": 0.1, "respawn_window": 0.001,
    "max_attempts": 1, "max_queue_depth": 0, "respawn_limit": 0,
}  # fmt: skip
MOST = 10**9


def _seconds(name: str) -> tuple[Callable[[str], float], str]:
    return partial(_bounded, float, LEAST[name]), f"a number of seconds from {LEAST[name]:g}"


def _whole(name: str) -> tuple[Callable[[str], int], str]:
    return partial(_bounded, int, LEAST[name]), f"a whole number from {LEAST[name]:g}"


def _bounded(kind: Callable[[str], N], least: float, text: str) -> N:
    value = kind(text)
    if not least <= value <= MOST:
        raise ValueError
    return value


def _level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError
    return text.upper()


# How each setting is read from text, and what the error for an invalid one says it must be.
_READ: dict[str, tuple[Callable[[str], Any], str]] = {
    "broker": (str, "a URL"),
    "host": (str, "a name"),
    "heartbeat_interval": _seconds("heartbeat_interval"),
    "heartbeat_ttl": _seconds("heartbeat_ttl"),
    "command_timeout": _seconds("command_timeout"),
    "lease": _seconds("lease"),
    "max_attempts": _whole("max_attempts"),
    "max_queue_depth": _whole("max_queue_depth"),
    "respawn_limit": _whole("respawn_limit"),
    "respawn_window": _seconds("respawn_window"),
    "log_level": (_level, "one of " + ", ".join(LOG_LEVELS)),
}
NAMES = QueueSettings._fields
SCHEMES = ("sqlite", "redis", "rediss", "redis+sentinel", "rediss+sentinel", "dir")  # of the broker's URL
# In a shared folder, names of roles and hosts become files' names, of 255 bytes at most, beginnings and ends included.
LONGEST = 240
TOO_LONG = f"as a file's name it has more than {LONGEST} bytes, and a letter beyond ASCII takes 6 to 12"
# Other names for the broker's URL.
_ALSO = {"broker": ("PANEVIEW_REDIS_URL", "PANEBUS_REDIS_URL")}


def variables(name: str) -> tuple[str, ...]:
    """The environment variables that hold a setting; the first that is set counts."""
    return (f"PANEVIEW_{name.upper()}", f"PANEBUS_{name.upper()}", *_ALSO.get(name, ()))


def resolve(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    dotenv: Mapping[str, str],
    table: Mapping[str, Any],
    file: str = "",
) -> QueueSettings:
    """The settings from all sources. Raises ConfigError with every invalid value."""
    chosen: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in NAMES:
        found = _find(name, flags, environ, dotenv, table)
        if found is None:
            continue
        source, value = found
        read, expected = _READ[name]
        try:
            chosen[name] = read(interpolate(str(value), environ))
        except InterpolationError as error:
            problems.append(Problem(file, None, None, f"queue.{name}: {error}", error.hint))
        except ValueError:
            problems.append(Problem(file, None, None, f"{source} must be {expected}, not {value!r}"))
    if problems:
        raise ConfigError(*problems)
    return QueueSettings(**chosen)


def teller(name: str, environ: Mapping[str, str], dotenv: Mapping[str, str]) -> str | None:
    """The environment variable that this setting comes from; None: it comes from the file, or is the default."""
    found = _find(name, {}, environ, dotenv, {})
    return found[0] if found else None


def _find(
    name: str,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    dotenv: Mapping[str, str],
    table: Mapping[str, Any],
) -> tuple[str, Any] | None:
    if flags.get(name) is not None:
        return f"--{name.replace('_', '-')}", flags[name]
    for values, where in ((environ, ""), (dotenv, " in .env")):
        for variable in variables(name):
            if values.get(variable):
                return f"{variable}{where}", values[variable]
    return (f"queue.{name}", table[name]) if name in table else None


def read_dotenv(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The settings in the folder's ``.env``; none if there is no such file. Raises ConfigError."""
    file = folder / ".env"
    if not file.is_file():
        return {}
    from paneview.config.envfile import read_env_file  # noqa: PLC0415 - few folders have one

    try:
        found = read_env_file(file, environ)
    except OSError as error:
        raise ConfigError(Problem(str(file), None, None, f"can't be read: {error.strerror}")) from error
    except ConfigError as error:
        # Other programs use this file as well: its mistakes matter only if it has settings of ours.
        if all(name not in file.read_text(errors="replace") for name in ("PANEVIEW_", "PANEBUS_")):
            return {}
        raise error from None
    return {name: value for name, value in found.items() if name.startswith(("PANEVIEW_", "PANEBUS_"))}


class QueuePlace(NamedTuple):
    """Where a command's queue is: its settings, and the project it belongs to, if any."""

    settings: QueueSettings
    file: Path | None
    folder: Path
    """State folder for a queue that has no place of its own (``sqlite:``); it exists if in use and `make` was given."""
    in_use: bool = True
    """Whether there is a queue, or a setting or worker that asks for one."""


def find_queue(flags: Mapping[str, Any], named: str | None = None, *, make: bool = True) -> QueuePlace:
    """The queue of the project file ``named``, or else of the project of this folder. Raises ConfigError.

    Without a project, ``sqlite:`` is a queue of the user's own. ``make``: create a project's state folder if its queue
    is in use.
    """
    found = named or os.environ.get("PANEVIEW_FILE") or locate.find_file(os.getcwd())
    file = Path(os.path.abspath(found)) if found else None
    if file is not None and file.is_dir():
        found = next((str(file / name) for name in locate.FILE_NAMES if (file / name).is_file()), None)
        file = Path(found) if found else file / locate.FILE_NAMES[0]
    table: Mapping[str, Any] = {}
    data: Mapping[str, Any] = {}
    folder = paths.state_home()
    if file is not None:
        data = _read_toml(file)
        table = data.get("queue") or {}
        if not isinstance(table, Mapping):
            raise ConfigError(Problem(str(file), None, None, "queue must be a table"))
        name = data.get("name")
        plain = isinstance(name, str) and "${" not in name and "/" not in name
        folder = paths.project_dir(file, str(name) if plain and name else paths.default_name(file))
    dotenv = read_dotenv(file.parent if file else Path.cwd(), os.environ)
    settings = resolve(flags, os.environ, dotenv, table, str(file or ""))
    wanted = "queue" in data or bool(data.get("workers")) or settings.broker != QueueSettings().broker
    in_use = wanted or (folder / "queue.db").exists()
    if make and in_use and file is not None:
        paths.make_private(folder)
    return QueuePlace(settings, file, folder, in_use)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(file).decode())
    except OSError as error:
        raise ConfigError(Problem(str(file), None, None, f"can't be read: {error.strerror}")) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(Problem(str(file), None, None, f"cannot be read as TOML: {error}")) from error
