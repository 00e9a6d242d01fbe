"""The port a task is about to listen on: the user's processes that already listen there are ended.

Several processes may share a listening socket (servers that fork, reloaders); the port is free when none has it. An
event names each by pid and command. Never ended are another user's process, a supervisor, a task that one manages (of
this project or another), tmux, or a service manager, which may listen on behalf of what it starts: then the start
fails, and says why.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path

from paneview import proc
from paneview.config.paths import LOCK_NAME
from paneview.proc import ProcessId, ProcessTable
from paneview.supervisor.journal import Journal

GRACE = 2.0  # seconds a listener has after SIGTERM
# By the start of the process's name: ending one would end all it has started, or the user's whole session.
_LEFT_ALONE = {"tmux": "a tmux server", "systemd": "a service manager", "launchd": "a service manager"}
ROUNDS = 4  # attempts to free the port before giving up on a listener that always comes back


class PortRefused(Exception):  # noqa: N818 - what happened, in the words of the rules
    """The port cannot be freed. The message says which process has it, and why that was left alone."""


class Ports:
    """Clears ports before a start. ``key`` marks the processes of this project."""

    def __init__(self, journal: Journal, key: str) -> None:
        self._journal = journal
        self._key = key

    async def clear(self, task: str, run: int, port: int) -> None:
        """End the processes that listen on ``port``. Raises PortRefused."""
        from paneview.proc import details  # noqa: PLC0415 - slow to import, and few tasks have a port

        for _ in range(ROUNDS):  # a process that ends may leave the socket to a child started since
            listeners, hidden = await asyncio.to_thread(details.listeners, port)
            if hidden:
                raise PortRefused(f"port {port} is taken by a process of another user")
            if not listeners:
                return
            names = {process: _name(process) for process in listeners}
            for process, name in names.items():  # check all of them before the first is ended
                self._refuse_protected(process, port, name)
                if details.owner(process.pid) not in (os.getuid(), None):
                    raise PortRefused(f"port {port} is taken by {name}, which belongs to another user")
            await self._end(names, port)
            for process, name in names.items():
                cause = f"{name} listened on port {port}"
                self._journal.note_task(task, run, "port_cleared", cause, pid=process.pid, port=port)
        raise PortRefused(f"port {port} is taken again whenever its holder is ended; the last was {name}")

    async def _end(self, names: dict[ProcessId, str], port: int) -> None:
        for process, name in names.items():
            if not proc.send(signal.SIGTERM, [process]) and proc.is_alive(process):
                raise PortRefused(f"port {port} is taken by {name}, which may not be ended")
        find = _those(names)
        if not await proc.wait_gone(find, GRACE):
            await proc.kill_until_gone(find, GRACE)

    def _refuse_protected(self, process: ProcessId, port: int, name: str) -> None:
        table = ProcessTable.recent()
        row = table.rows.get(process.pid)
        for kind, what in _LEFT_ALONE.items():
            if row is not None and row.name.startswith(kind):
                raise PortRefused(f"port {port} is taken by {name}, {what}, which is left alone")
        if process.pid == os.getpid():
            raise PortRefused(f"port {port} is taken by the supervisor itself")
        if (project := _supervised_by(process.pid)) is not None:
            raise PortRefused(f"port {port} is taken by {name}, the supervisor of the project {project!r}")
        for marker, processes in table.marked().items():
            if process in processes:
                whose = "this project" if marker.startswith(self._key) else "another project"
                raise PortRefused(f"port {port} is taken by {name}, a managed task of {whose}")


def _name(process: ProcessId) -> str:
    command = " ".join(proc.command_line(process.pid))[:120]
    return f"pid {process.pid} ({command or 'unknown'})"


def _supervised_by(pid: int) -> str | None:
    """The name of the project whose supervisor this process is; None if it is none.

    A supervisor holds its project's lock file open. That works for projects with another state home, too, and gives
    the project's name.
    """
    from paneview.proc import details  # noqa: PLC0415 - as above

    folders = (Path(file).parent for file in details.open_files(pid) if Path(file).name == LOCK_NAME)
    return next((folder.name.rpartition("-")[0] for folder in folders), None)


def _those(processes: Collection[ProcessId]) -> Callable[[ProcessTable], set[ProcessId]]:
    return lambda table: {process for process in processes if table.get(process)}
