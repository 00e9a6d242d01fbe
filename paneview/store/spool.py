"""The spool: output on its way from tmux to the log database.

``pipe-pane`` writes a run's output through ``split`` into ``<run>.000000``, ``<run>.000001``, … of 16 MB
each. Should the pipe be lost and attached again, the new writer must not overwrite what is there: it begins
at a higher number, or under another prefix, ``<run>.1.``. Read in this order the files are the run's
output; where a number is left out there is a gap, and what comes behind it begins a new line. Nothing else
may lie in the folder.

Whether a writer still has a file open can be told on Linux without asking any process: a read lease is
granted only if nobody has the file open for writing.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

CLOCK = 0.1  # seconds; coarser than any file system's clock on Linux
MODEST = 64 * 1024  # bytes; room for more than that is asked for only if there is as much to read
Key = tuple[int, int]  # which attachment of the pipe, which file of it
_PATTERN = re.compile(r"(\d+)(?:\.(\d+))?\.(\d{6,})\Z")


def prefix(folder: Path, run: int, attach: int = 0) -> Path:
    """What `split` is told to write to: for a run, and for each further attachment (1, 2, …) of its pipe."""
    return folder / (f"{run}." if attach == 0 else f"{run}.{attach}.")


def path_of(folder: Path, run: int, key: Key) -> Path:
    """The file of this key."""
    return folder / _name(run, key)


def _name(run: int, key: Key) -> str:
    attach, number = key
    return f"{run}.{number:06d}" if attach == 0 else f"{run}.{attach}.{number:06d}"


def parse_name(name: str) -> tuple[int, Key] | None:
    """The run and key of a spool file's name; None for a foreign file."""
    found = _PATTERN.match(name)
    if not found:
        return None
    run, attach, number = found.groups()
    return int(run), (int(attach or 0), int(number))


def files(folder: Path) -> dict[int, list[Key]]:
    """The files of every run, in order."""
    found: dict[int, list[Key]] = {}
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return found
    for name in names:
        if parsed := parse_name(name):
            found.setdefault(parsed[0], []).append(parsed[1])
    for keys in found.values():
        keys.sort()
    return found


def next_attach(folder: Path, run: int) -> int:
    """The number for a new attachment of this run's pipe: one above all whose files lie here."""
    keys = files(folder).get(run)
    return keys[-1][0] + 1 if keys else 1


def end_of(folder: Path, run: int) -> tuple[Key, int]:
    """The position behind everything that the run has written by now."""
    keys = files(folder).get(run)
    if not keys:
        return (0, 0), 0
    try:
        return keys[-1], path_of(folder, run, keys[-1]).stat().st_size
    except FileNotFoundError:  # stored and removed since
        return keys[-1], 0


class Extent(Struct, frozen=True):
    """A stretch of one spool file."""

    key: Key
    offset: int
    size: int


class Block(Struct, frozen=True):
    """Bytes of a run from some position on."""

    data: bytes
    extents: tuple[Extent, ...]
    at_end: bool  # there was nothing more when it was read
    following: Key | None  # at the end, and it goes on in this file, but not without a gap
    end: tuple[Key, int]  # position of the byte behind it
    cut: bool = False  # there may be more behind it that was not asked for

    def until(self, stop: tuple[Key, int]) -> Block:
        """What of it lies before this position; `at_end` then means: at that position."""
        if self.end < stop or (self.end == stop and self.at_end):
            return self
        size = sum(extent.size for extent in self.extents if extent.key < stop[0])
        size += sum(
            max(min(extent.size, stop[1] - extent.offset), 0)
            for extent in self.extents
            if extent.key == stop[0]
        )
        return Block(
            self.data[:size], self.extents, at_end=True, following=None, end=self.position(size), cut=True
        )

    def position(self, taken: int) -> tuple[Key, int]:
        """The position behind the first `taken` bytes."""
        if taken == len(self.data):
            return self.end
        for extent in self.extents:
            if taken < extent.size:
                return extent.key, extent.offset + taken
            taken -= extent.size
        return self.end


class RunFiles:
    """Reads one run's spool files as one stream. Not for several threads at a time."""

    def __init__(self, folder: Path, run: int) -> None:
        self.folder = folder
        self.run = run
        self._prefix = f"{folder}{os.sep}"
        self._open: dict[Key, int] = {}
        self._listed: list[Key] = []
        self._listed_at = 0.0

    def read(self, key: Key, offset: int, limit: int) -> Block:
        """Up to `limit` bytes from there on, over as many files as needed, but never over a gap."""
        parts: list[bytes] = []
        extents: list[Extent] = []
        at_end, following = False, None
        while limit > 0:
            asked, data = limit, self._pread(key, offset, limit)
            if data:
                parts.append(data)
                extents.append(Extent(key, offset, len(data)))
                offset += len(data)
                limit -= len(data)
            if len(data) == asked:
                break
            # That was all, for now: what is written meanwhile is for the next call, a writer is not run after.
            successor = self._following(key)
            if successor is None:
                at_end = True
                break
            # It may have appended between the read and the birth of the next file.
            if self._pread(key, offset, 1):
                continue
            if not successor[1]:
                at_end, following = True, successor[0]
                break
            key, offset = successor[0], 0
        return Block(b"".join(parts), tuple(extents), at_end, following, (key, offset))

    def backlog(self, key: Key, offset: int) -> tuple[int, float]:
        """How many bytes lie behind the position, and when the last file was last written (epoch seconds)."""
        total, modified = -offset, 0.0
        for other in files(self.folder).get(self.run, []):
            if other >= key:
                with suppress(FileNotFoundError):
                    status = path_of(self.folder, self.run, other).stat()
                    total, modified = total + status.st_size, status.st_mtime
        return max(total, 0), modified

    def modified(self, key: Key) -> float | None:
        """When the file was last written, epoch seconds; None if it is not there."""
        descriptor = self._descriptor(key)
        return None if descriptor is None else os.fstat(descriptor).st_mtime

    def has_writer(self, key: Key) -> bool | None:
        """Whether someone has the file open for writing; None where that cannot be told."""
        descriptor = self._descriptor(key)
        if descriptor is None:
            return None
        return _has_writer(descriptor)

    def exists(self, key: Key) -> bool:
        """Whether the file is there. Asked at every look: a plain string is a tenth of a Path."""
        return os.access(f"{self._prefix}{_name(self.run, key)}", os.F_OK)

    def remove_before(self, key: Key, *, inclusive: bool = False) -> None:
        """Remove the files before this key (and this one too); for bytes that are stored."""
        for other in files(self.folder).get(self.run, []):
            if other < key or (inclusive and other == key):
                path_of(self.folder, self.run, other).unlink(missing_ok=True)
        self.close_before(key, inclusive=inclusive)

    def close_before(self, key: Key, *, inclusive: bool = False) -> None:
        """Close what was opened before this key."""
        for other in [other for other in self._open if other < key or (inclusive and other == key)]:
            os.close(self._open.pop(other))

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _pread(self, key: Key, offset: int, limit: int) -> bytes:
        descriptor = self._descriptor(key)
        if descriptor is None:
            return b""
        if limit > MODEST:
            limit = min(limit, max(os.fstat(descriptor).st_size - offset, 0))
        return os.pread(descriptor, limit, offset)

    def _descriptor(self, key: Key) -> int | None:
        if (descriptor := self._open.get(key)) is None:
            try:
                descriptor = os.open(path_of(self.folder, self.run, key), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            self._open[key] = descriptor
        return descriptor

    def _following(self, key: Key) -> tuple[Key, bool] | None:
        """The next file, and whether it goes on where this one ends."""
        attach, number = key
        if self.exists((attach, number + 1)):
            return (attach, number + 1), True
        later = next((other for other in self._keys() if other > key), None)
        return None if later is None else (later, later == (attach, number + 1))

    def _keys(self) -> list[Key]:
        """The run's files. The folder is listed only after files came or went."""
        try:
            changed = os.stat(self.folder).st_mtime
        except FileNotFoundError:
            return []
        if changed != self._listed_at:
            self._listed = files(self.folder).get(self.run, [])
            # A folder's clock is coarse: right after a change another one may carry the same time.
            self._listed_at = changed if time.time() - changed > CLOCK else 0.0
        return self._listed


def command_lines() -> list[bytes] | None:
    """The command line of every process, NUL-separated; None where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return None
    lines = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            # It may have ended meanwhile.
            with suppress(OSError), open(f"/proc/{name}/cmdline", "rb", buffering=0) as file:
                lines.append(file.read())
    return lines


def is_named(wanted: Path, lines: list[bytes]) -> bool:
    """Whether some process was started to write to this prefix.

    For a run that has written nothing yet: its file does not exist, so there is nothing to ask a lease of.
    It must be a whole argument: a tmux server goes on showing the command line that it was once started with.
    """
    needle = b"\0" + os.fsencode(wanted) + b"\0"
    return any(needle in line for line in lines)


def _has_writer(descriptor: int) -> bool | None:
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # Should someone open the file while the lease is held, the signal is one that is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None  # a file system without leases
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
