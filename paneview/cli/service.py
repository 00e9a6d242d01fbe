"""``service``: a systemd unit for a worker or for a project's supervisor.

A service has next to nothing of a shell's environment. The variables that say where its state, its tmux server and
its queue are go into the unit, so that it uses the same ones as the shell it was made in. Passwords do not: anyone may
read a unit.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from paneview.cli.errors import USAGE, CliError, UsageError
from paneview.cli.output import complain, print_json
from paneview.cli.queue.opening import place_of, seconds
from paneview.config import queue
from paneview.worker.setup import Setup

if TYPE_CHECKING:
    from paneview.cli.parser import Call
    from paneview.config.queue import QueuePlace

_PLACES = ("PANEVIEW_HOME", "XDG_STATE_HOME", "PANEVIEW_TMUX_SOCKET", "TMUX_TMPDIR")
_PASSWORD = "PANEVIEW_REDIS_PASSWORD"  # noqa: S105 - the variable's name

_UNIT = """\
[Unit]
Description={description}
After=network-online.target
Wants=network-online.target
{mounts}
[Service]
Type=exec
User={user}
WorkingDirectory={folder}
{environment}ExecStart={command}
Restart=on-failure
RestartSec=5
KillMode={kill}
TimeoutStopSec=90

[Install]
WantedBy=multi-user.target
"""


def service(call: Call) -> int:
    """Print the unit."""
    what = call.words[0]
    if what not in ("worker", "supervisor"):
        raise UsageError(f"there is no service for {what!r}", "there is one for worker and supervisor")
    where = place_of(call)
    unit = _worker(call, where) if what == "worker" else _supervisor(call, where)
    name = f"paneview-{what}.service"
    if call.json:
        print_json({"ok": True, "name": name, "unit": unit})
        return 0
    print(unit, end="")
    for line in unit.splitlines():
        if line.startswith("# "):  # standard output may go straight into a file
            complain(line.removeprefix("# "))
    return 0


def _worker(call: Call, where: QueuePlace) -> str:
    argv = [*_program(), "worker"]
    count = call.count("concurrency")
    try:
        Setup(roles=tuple(call.texts("role")), concurrency=1 if count is None else count)
    except ValueError as error:  # a unit that systemd would start in vain, for ever
        raise UsageError(str(error)) from None
    for role in call.texts("role"):
        argv += ["--role", role]
    if count is not None:
        argv += ["--concurrency", str(count)]
    if seconds(call, "interval"):
        argv += ["--interval", call.text("interval") or ""]
    if where.file:
        argv += ["--file", str(where.file)]
    broker = call.text("broker")
    environment = {"PANEVIEW_BROKER": broker} if broker else {}
    roles = ", ".join(call.texts("role")) or "worker"
    return _unit(call, "worker", f"paneview worker ({roles})", argv, environment, where)


def _supervisor(call: Call, where: QueuePlace) -> str:
    if given := [option for option in ("role", "concurrency", "interval") if call.texts(option)]:
        raise UsageError(f"--{given[0]} goes with 'service worker' alone")
    if where.file is None:
        raise CliError(f"no paneview.toml in {os.getcwd()} or a folder above it", USAGE, code="config")
    argv = [*_program(), "--serve", "--file", str(where.file)]
    # Its tasks live in tmux and go on without it: the next supervisor adopts them.
    return _unit(call, "supervisor", f"paneview supervisor of {where.file}", argv, {}, where, kill="process")


def _unit(
    call: Call,
    what: str,
    description: str,
    argv: list[str],
    environment: dict[str, str],
    where: QueuePlace,
    *,
    kill: str = "mixed",
) -> str:
    folder = where.file.parent if where.file else os.getcwd()
    # A service's PATH is short, and may lack tmux or an agent.
    environment = {"PATH": os.environ.get("PATH", os.defpath), **_passed_on({**os.environ, **environment})}
    secret = [name for name, value in environment.items() if _holds_password(name, value)]
    lines = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n"
        for name, value in environment.items()
        if name not in secret
    )
    if secret:
        file = f"/etc/paneview-{what}.env"
        needed = ", ".join(f"{name}=…" for name in secret)
        lines += f"# a password is not written here; in {file}, for root alone (mode 600), write: {needed}\n"
        lines += f"EnvironmentFile={file}\n"
    scheme, _, place = where.settings.broker.partition("://")
    shared = unquote(place.partition("?")[0]) if scheme == "dir" else ""
    return _UNIT.format(
        description=_plain(description),
        mounts=f"RequiresMountsFor={_quoted(shared)}\n" if shared else "",
        user=_plain(call.text("user") or pwd.getpwuid(os.getuid()).pw_name),
        folder=_plain(str(folder)),
        environment=lines,
        # systemd expands variables here, but not in Environment=.
        command=" ".join(_quoted(word).replace("$", "$$") for word in argv),
        kill=kill,
    )


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """What a service needs of this environment: where things are, and each setting of the queue."""
    settings = (next(filter(environ.get, queue.variables(name)), "") for name in queue.NAMES)
    return {name: environ[name] for name in (*_PLACES, *settings, _PASSWORD) if environ.get(name)}


def _holds_password(name: str, value: str) -> bool:
    if name == _PASSWORD:
        return True
    try:
        return "://" in value and urlsplit(value).password is not None
    except ValueError:  # a bracket, which a password may hold
        return True


def _program() -> list[str]:
    """The installed command, else this Python with our package."""
    found = shutil.which("paneview")
    return [found] if found else [sys.executable, "-P", "-m", "paneview"]


def _plain(text: str) -> str:
    """A value for a unit file, where ``%`` has a meaning. Raises CliError for one that cannot stand on a line."""
    if not text.isprintable():
        raise CliError(f"{text!r} cannot stand in a unit file", USAGE, code="usage")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of a command line, or an assignment, for a unit file; quoted if need be."""
    plain = _plain(word)
    if shlex.quote(plain) == plain:
        return plain
    for letter, escaped in (("\\", "\\\\"), ('"', '\\"')):
        plain = plain.replace(letter, escaped)
    return f'"{plain}"'
