"""The spool: files of output on its way from tmux to the log database.

``pipe-pane`` writes a run's output through ``split`` into ``<run>.000000``, ``<run>.000001``, … of 16 MB
each. If the pipe is lost and attached again, the new writer must not overwrite these files: it begins at a
higher number, or under another prefix, ``<run>.1.``. In this order the files are the run's output; a missing
number is a gap, and what follows it begins a new line. The folder must hold nothing else.

On Linux a read lease tells whether a writer still has a file open, without inspecting any process: it is
granted only if no process has the file open for writing.
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
MODEST = 64 * 1024  # bytes; larger reads are first limited to what the file holds
Key = tuple[int, int]  # which attachment of the pipe, which file of it
_PATTERN = re.compile(r"(\d+)(?:\.(\d+))?\.(\d{6,})\Z")


def prefix(folder: Path, run: int, attach: int = 0) -> Path:
    """The prefix `split` writes to, for a run's first pipe or a later attachment (1, 2, …) of it."""
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
    """The number for a new attachment of this run's pipe: one above all that have files here."""
    keys = files(folder).get(run)
    return keys[-1][0] + 1 if keys else 1


def end_of(folder: Path, run: int) -> tuple[Key, int]:
    """The position after everything the run has written so far."""
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
    """Bytes of a run, read from some position on."""

    data: bytes
    extents: tuple[Extent, ...]
    at_end: bool  # there was nothing more when it was read
    following: Key | None  # if `at_end`: the output continues in this file, after a gap
    end: tuple[Key, int]  # position of the byte after it
    cut: bool = False  # there may be more after it that was not requested

    def until(self, stop: tuple[Key, int]) -> Block:
        """The part before this position; `at_end` then means: up to that position."""
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
        """The position after the first `taken` bytes."""
        if taken == len(self.data):
            return self.end
        for extent in self.extents:
            if taken < extent.size:
                return extent.key, extent.offset + taken
            taken -= extent.size
        return self.end


class RunFiles:
    """Reads one run's spool files as one stream. Not thread-safe."""

    def __init__(self, folder: Path, run: int) -> None:
        self.folder = folder
        self.run = run
        self._prefix = f"{folder}{os.sep}"
        self._open: dict[Key, int] = {}
        self._listed: list[Key] = []
        self._listed_at = 0.0

    def read(self, key: Key, offset: int, limit: int) -> Block:
        """Up to `limit` bytes from this position on, across as many files as needed, but never across a gap."""
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
            # The file ends here for now. Leave what is written meanwhile to the next call: don't chase the writer.
            successor = self._following(key)
            if successor is None:
                at_end = True
                break
            # The writer may have appended between our read and the creation of the next file.
            if self._pread(key, offset, 1):
                continue
            if not successor[1]:
                at_end, following = True, successor[0]
                break
            key, offset = successor[0], 0
        return Block(b"".join(parts), tuple(extents), at_end, following, (key, offset))

    def backlog(self, key: Key, offset: int) -> tuple[int, float]:
        """How many bytes follow the position, and when the last file was last written (epoch seconds)."""
        total, modified = -offset, 0.0
        for other in files(self.folder).get(self.run, []):
            if other >= key:
                with suppress(FileNotFoundError):
                    status = path_of(self.folder, self.run, other).stat()
                    total, modified = total + status.st_size, status.st_mtime
        return max(total, 0), modified

    def modified(self, key: Key) -> float | None:
        """When the file was last written, epoch seconds; None if it does not exist."""
        descriptor = self._descriptor(key)
        return None if descriptor is None else os.fstat(descriptor).st_mtime

    def has_writer(self, key: Key) -> bool | None:
        """Whether any process has the file open for writing; None if unknown."""
        descriptor = self._descriptor(key)
        if descriptor is None:
            return None
        return _has_writer(descriptor)

    def exists(self, key: Key) -> bool:
        """Whether the file exists. Called very often: building a plain string costs a tenth of a Path."""
        return os.access(f"{self._prefix}{_name(self.run, key)}", os.F_OK)

    def remove_before(self, key: Key, *, inclusive: bool = False) -> None:
        """Remove the files before this key (with `inclusive`, this one too), whose bytes are stored."""
        for other in files(self.folder).get(self.run, []):
            if other < key or (inclusive and other == key):
                path_of(self.folder, self.run, other).unlink(missing_ok=True)
        self.close_before(key, inclusive=inclusive)

    def close_before(self, key: Key, *, inclusive: bool = False) -> None:
        """Close the open files before this key (with `inclusive`, this one too)."""
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
        """The next file, and whether it continues where this one ends; None if there is none."""
        attach, number = key
        if self.exists((attach, number + 1)):
            return (attach, number + 1), True
        later = next((other for other in self._keys() if other > key), None)
        return None if later is None else (later, later == (attach, number + 1))

    def _keys(self) -> list[Key]:
        """The run's files. The folder is listed again only after files were added or removed."""
        try:
            changed = os.stat(self.folder).st_mtime
        except FileNotFoundError:
            return []
        if changed != self._listed_at:
            self._listed = files(self.folder).get(self.run, [])
            # A folder's clock is coarse: another change right after this one may have the same time.
            self._listed_at = changed if time.time() - changed > CLOCK else 0.0
        return self._listed


def command_lines() -> list[bytes] | None:
    """The command line of every process, NUL-separated; None if unknown (not Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    lines = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            # The process may have ended meanwhile.
            with suppress(OSError), open(f"/proc/{name}/cmdline", "rb", buffering=0) as file:
                lines.append(file.read())
    return lines


def is_named(wanted: Path, lines: list[bytes]) -> bool:
    """Whether some process was started to write to this prefix.

    For a run that has written nothing yet: it has no file, so a lease cannot tell. Only a whole argument
    counts, because a tmux server keeps showing the command line that it was started with.
    """
    needle = b"\0" + os.fsencode(wanted) + b"\0"
    return any(needle in line for line in lines)


def _has_writer(descriptor: int) -> bool | None:
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # If a process opens the file while we hold the lease, we get a signal that is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None  # a file system without leases
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
