"""The identity of a process."""

from __future__ import annotations

import os
from typing import NamedTuple

from paneview.proc.backend import backend
from paneview.proc.row import Backend


class ProcessId(NamedTuple):
    """A process, never confused with a later one of the same pid (within one boot)."""

    pid: int
    start: int
    """Start time: clock ticks since boot on Linux, milliseconds since the epoch elsewhere."""


def identify(pid: int, source: Backend = backend) -> ProcessId | None:
    """The process that has this pid now; None if there is none or it is dead. Only tests give a ``source``."""
    row = source.read(pid)
    return ProcessId(pid, row.start) if row and not row.dead else None


def is_alive(process: ProcessId, source: Backend = backend) -> bool:
    """Whether exactly this process is still running; a zombie is not. Only tests give a ``source``."""
    return identify(process.pid, source) == process


def command_line(pid: int) -> list[str]:
    """The arguments of a process, its program first; empty if it is gone or not accessible."""
    return backend.command_line(pid)


def is_anyone_in(folder: str) -> bool:
    """Whether anybody but this process and its children is in a folder or below, as far as we may see that."""
    place, me = os.path.realpath(folder), os.getpid()
    for pid in backend.pids():
        where = backend.folder(pid) if pid != me else None
        if where is not None and (where == place or where.startswith(f"{place}/")):
            row = backend.read(pid)
            if row is not None and row.ppid != me and not row.dead:
                return True
    return False


def boot_id() -> str:
    """A name for this boot of the machine; start times are valid only within one boot."""
    return backend.boot_id()


def pid_space() -> str:
    """The name of our pid namespace, within which our pids are valid (a container has its own); empty if unknown."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""


def started_at(process: ProcessId) -> float:
    """When the process was started, epoch seconds."""
    return backend.started_at(process.start)
