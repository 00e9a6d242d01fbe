"""``worker``: take jobs until told to end."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.cli.errors import CliError, UsageError
from paneview.cli.queue.opening import place_of, seconds
from paneview.worker import Handlers, Setup, Worker, records
from paneview.worker.console import Console
from paneview.worker.joining import connect_to
from paneview.worker.parting import no_quiet_end
from paneview.worker.phases import roles_here, runners_here
from paneview.worker.setup import DEFAULT_COMMAND, DEFAULT_ROLE

if TYPE_CHECKING:
    from paneview.cli.parser import Call
    from paneview.config.queue import QueuePlace


def worker(call: Call) -> int:
    """Run a worker in this process."""
    if note := call.text("respawn"):
        records.start_again(Path(note))
    where = place_of(call, make=True)
    setup = _setup(call, where)
    console = Console(as_json=call.json, level=where.settings.log_level)
    with no_quiet_end(console):
        return _run(call, where, setup, console)


def _run(call: Call, where: QueuePlace, setup: Setup, console: Console) -> int:
    handlers = Handlers()
    classes = handlers.load(call.texts("handlers"))
    own = [one for one in classes if issubclass(one, Worker) and one is not Worker]
    if len(own) > 1:
        raise UsageError(f"there is more than one Worker subclass: {', '.join(one.__name__ for one in own)}")
    made = (own[0] if own else Worker)(
        setup=setup,
        connect=partial(connect_to, where, seconds(call, "interval")),
        handlers=handlers,
        console=console,
    )
    return int(made.run())


def _setup(call: Call, where: QueuePlace) -> Setup:
    settings = where.settings
    text = call.text("command")
    try:
        command = tuple(shlex.split(text)) if text is not None else DEFAULT_COMMAND
    except ValueError as error:
        raise UsageError(f"--command: {error}") from None
    host = call.text("host") or settings.here
    roles = tuple(dict.fromkeys(call.texts("role"))) or (DEFAULT_ROLE,)
    file = where.file if where.file is not None and where.file.is_file() else None
    if (runner := call.text("runner")) and runner not in (known := runners_here(file, os.environ)):
        raise UsageError(f"there is no runner {runner!r}", f"there are {', '.join(known)}")
    if file is not None:
        here = roles_here(roles, file, os.environ, host)
        if not here:
            raise CliError(f"{where.file}: hosts keep {', '.join(roles)} away from {host}", code="config")
        roles = here
    grace, concurrency = seconds(call, "grace"), call.count("concurrency")
    try:
        return Setup(
            roles=roles,
            concurrency=1 if concurrency is None else concurrency,
            once=call.flag("once"),
            name=call.text("name") or "",
            host=host,
            grace=30.0 if grace is None else grace,
            command=command,
            runner=runner or "",
            allow=tuple(os.path.abspath(os.path.expanduser(name)) for name in call.texts("allow")),
            file=where.file,
            state=where.folder,
            heartbeat_interval=settings.heartbeat_interval,
            heartbeat_ttl=settings.heartbeat_ttl,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
