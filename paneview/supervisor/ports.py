"""The port a task is about to listen on: whoever of ours listens there already is ended, told by pid and command.

Never another user's process, never the supervisor, tmux, or a task that a supervisor manages (this project's or
another's): then the start fails, with the reason.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from paneview import proc
from paneview.proc import ProcessId, ProcessTable
from paneview.supervisor.journal import Journal

GRACE = 2.0  # seconds a listener has after SIGTERM


class PortRefused(Exception):  # noqa: N818 - what happened, in the words of the rules
    """The port cannot be had. The message says who has it, and why it was left alone."""


class Ports:
    """Clears ports before a start. ``key`` marks the processes of this project."""

    def __init__(self, journal: Journal, key: str) -> None:
        self._journal = journal
        self._key = key

    async def clear(self, task: str, run: int, port: int) -> None:
        """End what listens on ``port``. Raises PortRefused."""
        from paneview.proc import details  # noqa: PLC0415 - slow to import, and few tasks have a port

        listeners, hidden = await asyncio.to_thread(details.listeners, port)
        if hidden and not listeners:
            raise PortRefused(f"port {port} is taken by a process of another user")
        for process in listeners:
            command = " ".join(proc.command_line(process.pid))[:120]
            name = f"pid {process.pid} ({command or 'unknown'})"
            self._refuse_protected(process, port, name)
            if details.owner(process.pid) not in (os.getuid(), None):
                raise PortRefused(f"port {port} is taken by {name}, which belongs to another user")
            if not proc.send(signal.SIGTERM, [process]) and proc.is_alive(process):
                raise PortRefused(f"port {port} is taken by {name}, which may not be ended")
            find = _only(process)
            if not await proc.wait_gone(find, GRACE):
                await proc.kill_until_gone(find, GRACE)
            self._journal.note_task(
                task, run, "port_cleared", f"{name} listened on port {port}", pid=process.pid, port=port
            )

    def _refuse_protected(self, process: ProcessId, port: int, name: str) -> None:
        table = ProcessTable.recent()
        row = table.rows.get(process.pid)
        if row is not None and row.name.startswith("tmux"):
            raise PortRefused(f"port {port} is taken by {name}, a tmux server, which is left alone")
        if process.pid == os.getpid():
            raise PortRefused(f"port {port} is taken by the supervisor itself")
        for marker, processes in table.marked().items():
            if process in processes:
                whose = "this project" if marker.startswith(self._key) else "another project"
                raise PortRefused(f"port {port} is taken by {name}, a managed task of {whose}")


def _only(process: ProcessId) -> Callable[[ProcessTable], set[ProcessId]]:
    return lambda table: {process} if table.get(process) else set()
