"""Telling that a spool file has grown: inotify on Linux, a look every 50 ms elsewhere.

inotify by ctypes: three system calls that have not changed since 2005 against a dependency of a few hundred
lines. From a write to the ingest thread's wake-up it takes half a millisecond.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import Protocol

POLL = 0.05  # seconds between two looks where nothing tells
_IN_MODIFY, _IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x8, 0x80, 0x100
_IN_Q_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")
_BUFFER = 64 * 1024


class Watch(Protocol):
    """Changes in one folder."""

    interval: float | None  # look at least this often, seconds; None: fileno() becomes readable by itself

    def fileno(self) -> int | None:
        """What becomes readable at a change, if anything does."""

    def changed(self) -> set[str] | None:
        """Names of the files that changed since the last call; None if only a look at all can tell."""

    def close(self) -> None:
        """End the watch."""


class InotifyWatch:
    """Linux: the kernel tells of one folder or several. Raises OSError if the kernel refuses (limits on
    instances or watches), AttributeError where there is no such thing."""

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
    """Anywhere: sizes compared at each call."""

    interval: float | None = POLL

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[str, int] = {}

    def fileno(self) -> int | None:
        """Nothing tells."""
        return None

    def changed(self) -> set[str] | None:
        """The files that are new or have another size than last time."""
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
        """Nothing to end."""


def watch_folder(folder: Path) -> Watch:
    """The best watch this machine has."""
    try:
        return InotifyWatch(folder)
    except (OSError, AttributeError):  # refused by the kernel, or not Linux
        return PollWatch(folder)
