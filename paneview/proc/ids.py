"""The identity of a process."""

from __future__ import annotations

import os
from typing import NamedTuple

from paneview.proc.backend import backend
from paneview.proc.row import Backend


class ProcessId(NamedTuple):
    """A process that is never mistaken for a later one of the same number (within one boot)."""

    pid: int
    start: int
    """Start time: clock ticks since boot on Linux, milliseconds since the epoch elsewhere."""


def identify(pid: int, source: Backend = backend) -> ProcessId | None:
    """The process that has this id now, None if there is none or it is dead. Only tests give a ``source``."""
    row = source.read(pid)
    return ProcessId(pid, row.start) if row and not row.dead else None


def is_alive(process: ProcessId, source: Backend = backend) -> bool:
    """Whether exactly this process still runs; a zombie does not. Only tests give a ``source``."""
    return identify(process.pid, source) == process


def command_line(pid: int) -> list[str]:
    """The arguments a process was started with, its program first; nothing if it is gone or not ours to see."""
    return backend.command_line(pid)


def boot_id() -> str:
    """A name for this boot of the machine: start times of another boot mean nothing."""
    return backend.boot_id()


def pid_space() -> str:
    """Among whom our process numbers mean something: a container has its own. Empty where the system does not tell."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""


def started_at(process: ProcessId) -> float:
    """When the process was started, epoch seconds."""
    return backend.started_at(process.start)
