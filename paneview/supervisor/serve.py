"""`paneview --serve`: one process, one project, no screen.

Holds the project's lock as long as it lives, so there is never a second supervisor. SIGTERM and SIGINT end the
supervisor and leave the tasks running for the next one. SIGHUP means that its window or terminal is gone, which is no
reason to stop supervising: it goes on without one.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from paneview import proc
from paneview.config import paths
from paneview.config.errors import ConfigError
from paneview.config.load import load_project
from paneview.config.models import Project
from paneview.control import blocking
from paneview.control.errors import ControlError, NoSupervisor
from paneview.control.socketfile import UnsafeSocket
from paneview.store.database import StoreError
from paneview.supervisor.changes.watching import mark
from paneview.supervisor.host import Host, Options
from paneview.supervisor.process import logfile, statefolder
from paneview.supervisor.process.descriptors import make_room
from paneview.tmux.errors import TmuxError

logger = logging.getLogger(__name__)

ENDING = 15.0  # seconds a supervisor may take to end or to begin answering
ANSWER = 1.0  # seconds it may take to answer `hello`
SLOW = 0.05  # seconds; with PANEVIEW_DEBUG=1, whatever blocks the loop for longer is reported

OK, FAILED, BAD_CONFIG = 0, 1, 2
BECOME_NEXT = -1  # no exit status: this process becomes the next supervisor


def serve(file: Path, *, env_from: Path | None = None, start_all: bool = True) -> int:
    """Supervise the project of ``file`` until asked to end; returns the exit status.

    ``env_from`` names a file with the environment to use instead of ours; it is removed. ``start_all`` False: don't
    start what starts by itself in a fresh session.
    """
    environ = _environment(env_from)
    # Of the task that we were started from, if any: with it, what we start would be ended as a process of that run.
    os.environ.pop(proc.MARKER, None)
    seen = mark(file)  # it may change before we watch it: a predecessor that is just ending takes seconds
    try:
        project = load_project(file, environ)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log
        return BAD_CONFIG
    folder = paths.make_project_dir(project.file, project.name)
    lock = _wait_for_lock(folder)
    if lock is None:
        print(f"a supervisor for {project.file} is running already", file=sys.stderr)  # noqa: T201
        return OK
    logfile.set_up(paths.supervisor_log(folder))
    _remove_leavings(folder)
    make_room(len(project.tasks))
    proc.keep_spare()
    debug = bool(os.environ.get("PANEVIEW_DEBUG"))
    try:
        options = Options(start_all, lock, seen)
        status = asyncio.run(_serve(project, environ, folder, options, debug=debug), debug=debug)
    finally:
        logging.shutdown()  # the command that started us reads our last messages there
        os.close(lock)
    if status == BECOME_NEXT:
        again = ("-m", "paneview", "--serve", "--idle", "--file", os.fspath(project.file))
        os.execv(sys.executable, (sys.executable, "-P", *again))  # noqa: S606 - no shell takes part
    return status


async def _serve(
    project: Project, environ: Mapping[str, str], folder: Path, options: Options, *, debug: bool
) -> int:
    loop = asyncio.get_running_loop()
    if debug:
        loop.slow_callback_duration = SLOW
    host = Host(project, environ, folder, options)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, host, number)
    loop.add_signal_handler(signal.SIGHUP, _terminal_gone)
    try:
        await host.open()
    except (TmuxError, StoreError, UnsafeSocket, OSError) as error:
        logger.error("cannot supervise %s: %s", project.file, error)
        return FAILED
    reason = await host.run()
    try:
        await host.close(reason)
    except Exception:
        if reason != statefolder.REMOVED:
            raise
        logger.exception("not everything could be closed")  # because its files are gone
    return BECOME_NEXT if reason == statefolder.REMOVED else OK


def _end(host: Host, number: signal.Signals) -> None:
    host.end(f"ended by {number.name}; the tasks go on", took_down=False)


def _terminal_gone() -> None:
    """Discard all output: without the terminal, printing anything would fail."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    logger.info("the terminal is gone; supervising goes on")


def _environment(env_from: Path | None) -> dict[str, str]:
    if env_from is None:
        return dict(os.environ)
    environ: dict[str, str] = json.loads(env_from.read_text("utf-8"))
    env_from.unlink()
    os.environ.clear()
    os.environ.update(environ)
    return environ


def _remove_leavings(folder: Path) -> None:
    """Remove the files of commands that were killed while starting a supervisor; they hold the environment."""
    for path in folder.glob("launch-*.*"):
        pid = path.stem.removeprefix("launch-")
        if pid.isdecimal() and proc.identify(int(pid)) is None:
            path.unlink(missing_ok=True)


def _wait_for_lock(folder: Path) -> int | None:
    """The lock, as soon as a supervisor that is ending has released it; None if there is one that goes on.

    Connecting to its socket proves nothing: while the kernel cleans up a killed process, its lock and its socket are
    still there for a moment. So it has to answer.
    """
    give_up = time.monotonic() + ENDING
    while (lock := _lock(folder)) is None and time.monotonic() < give_up:
        with suppress(NoSupervisor, ControlError):
            blocking.call(paths.control_socket(folder), "hello", timeout=ANSWER)
            return None
        time.sleep(0.02)
    return lock


def _lock(folder: Path) -> int | None:
    """The lock's descriptor, or None if another supervisor holds it. The kernel releases it when we die."""
    descriptor = os.open(paths.lock_file(folder), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
