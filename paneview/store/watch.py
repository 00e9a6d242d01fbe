"""Noticing that a spool file has grown: inotify on Linux, a check every 50 ms elsewhere.

inotify is called through ctypes: three system calls that have not changed since 2005, instead of a dependency
of a few hundred lines. It takes half a millisecond from a write to the ingest thread's wake-up.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Protocol

POLL = 0.05  # seconds between two checks where the kernel does not notify
_IN_MODIFY, _IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x8, 0x80, 0x100
_IN_Q_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")
_BUFFER = 64 * 1024


class Watch(Protocol):
    """Changes in one folder."""

    interval: float | None  # seconds: check at least this often; None: fileno() becomes readable on a change

    def fileno(self) -> int | None:
        """A descriptor that becomes readable at a change; None if there is none."""

    def changed(self) -> set[str] | None:
        """Names of the files that changed since the last call; None if any of them may have."""

    def close(self) -> None:
        """End the watch."""


class InotifyWatch:
    """Linux: the kernel reports changes in one or more folders.

    Raises OSError if the kernel refuses (limits on instances or watches), AttributeError without inotify.
    """

    interval: float | None = None

    def __init__(self, *folders: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        mask = _IN_MODIFY | _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE
        for folder in folders:
            if libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask) < 0:
                error = OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))
                os.close(self._descriptor)
                raise error

    def fileno(self) -> int | None:
        """The inotify descriptor."""
        return self._descriptor

    def changed(self) -> set[str] | None:
        """Drain the queue; None if it overflowed."""
        names: set[str] = set()
        overflow = False
        while True:
            try:
                data = os.read(self._descriptor, _BUFFER)
            except BlockingIOError:
                return None if overflow else names
            at = 0
            while at < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                overflow = overflow or bool(mask & _IN_Q_OVERFLOW)
                names.add(os.fsdecode(data[at : at + length].rstrip(b"\0")))
                at += length

    def close(self) -> None:
        """End the watch."""
        os.close(self._descriptor)


class PollWatch:
    """Any system: compares file sizes at each call."""

    interval: float | None = POLL

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[str, int] = {}

    def fileno(self) -> int | None:
        """None: nothing becomes readable."""
        return None

    def changed(self) -> set[str] | None:
        """The files that are new or whose size differs from the last call."""
        sizes: dict[str, int] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    sizes[entry.name] = entry.stat().st_size
                except FileNotFoundError:
                    continue
        changed = {name for name, size in sizes.items() if self._sizes.get(name) != size}
        self._sizes = sizes
        return changed

    def close(self) -> None:
        """Nothing to close."""


def watch_folder(folder: Path) -> Watch:
    """The best watch available on this machine."""
    try:
        return InotifyWatch(folder)
    except (OSError, AttributeError):  # refused by the kernel, or not Linux
        return PollWatch(folder)
