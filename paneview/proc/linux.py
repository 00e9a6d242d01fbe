"""Processes read from ``/proc``: 10 µs each, where psutil needs about 100.

Each read briefly needs a descriptor. If there is none left, the process must not count as gone, or a supervisor would
start a second instance of every task: `keep_spare` reserves some for that, and without them OSError is raised.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock  # threading takes 1.5 ms, and agents' shims load this
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TypeVar

from paneview.proc.row import Row
from paneview.proc.scarce import SCARCE

T = TypeVar("T")

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_MANY_IDS = 30_000  # pids; the kernel's default is 32,768
_PTYS = range(136, 144)  # major numbers of the devices below /dev/pts
_FORKED = 0x40  # the kernel's flag PF_FORKNOEXEC
# An environment may be as large as the stack limit allows; the marker is added last or first, so read all
# of it.
_READ_SIZE = 1 << 16
_SPARE = 3  # several, because another thread may take a descriptor that is freed for a read


class _Spare:
    """Descriptors reserved for reading about processes."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._wanted = 0
        self._kept: list[int] = []

    def keep(self) -> None:
        """Reserve descriptors from now on."""
        with self._lock:
            self._wanted = _SPARE
            self._fill()

    def lend(self, look: Callable[[], T]) -> T:
        """Call ``look`` with a reserved descriptor freed for it. Raises OSError if there is none."""
        with self._lock:
            try:
                while self._kept:
                    os.close(self._kept.pop())
                    try:
                        return look()
                    except OSError as error:
                        if error.errno not in SCARCE:
                            raise
                return look()
            finally:
                self._fill()

    def _fill(self) -> None:
        with suppress(OSError):  # the next look tries again
            while len(self._kept) < self._wanted:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


_spare = _Spare()


class LinuxBackend:
    """`Backend` over ``/proc``."""

    def keep_spare(self) -> None:
        """Reserve a few descriptors."""
        _spare.keep()

    def pids(self) -> list[int]:
        """The pids of all processes."""
        try:
            names = os.listdir("/proc")
        except OSError as error:
            if error.errno not in SCARCE:
                raise
            names = _spare.lend(lambda: os.listdir("/proc"))
        return [int(name) for name in names if name[0] in "123456789"]

    def read(self, pid: int) -> Row | None:
        """The process with this pid; None if there is none."""
        data = _read_file(f"/proc/{pid}/stat", once=True)
        if not data:
            return None
        # The name is in parentheses and may itself contain blanks and parentheses.
        head, _, tail = data.rpartition(b") ")
        f = tail.split(None, 22)
        # In the order of `Row`, and without names: this runs for every process several times a second.
        return Row(
            pid,
            int(f[1]),
            int(f[2]),
            int(f[3]),
            int(f[5]),
            chr(f[0][0]),
            int(f[19]),
            (int(f[11]) + int(f[12])) * 100 // _TICKS,
            int(f[21]) * _PAGE,
            head.partition(b" (")[2].decode("utf-8", "replace"),
            bool(int(f[6]) & _FORKED),
        )

    def environment(self, pid: int) -> bytes | None:
        """The process's initial environment, ``K=V`` separated by NULs; None if it is not readable."""
        return _read_file(f"/proc/{pid}/environ")

    def command_line(self, pid: int) -> list[str]:
        """The arguments of the process, its program first; empty if it is gone or not accessible."""
        data = _read_file(f"/proc/{pid}/cmdline") or b""
        return [os.fsdecode(part) for part in data.removesuffix(b"\0").split(b"\0")] if data else []

    def folder(self, pid: int) -> str | None:
        """The process's current folder; None if it is gone or not accessible."""
        try:
            return os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return None

    def terminal(self, pid: int) -> str | None:
        """The path of its session's terminal if that is a pseudo-terminal; None otherwise."""
        _, _, tail = (_read_file(f"/proc/{pid}/stat", once=True) or b"").rpartition(b") ")
        device = int(tail.split(None, 5)[4]) if tail else 0
        if os.major(device) not in _PTYS:
            return None
        return f"/dev/pts/{(os.major(device) - _PTYS.start) * 256 + os.minor(device)}"

    def forks(self) -> int | None:
        """The kernel's count of processes and threads created; None if there are so few pids that they return soon."""
        if _pid_max() < _MANY_IDS:
            return None
        _, _, tail = (_read_file("/proc/stat") or b"").partition(b"\nprocesses ")
        count = tail.partition(b"\n")[0]
        return int(count) if count.isdigit() else None

    def boot_id(self) -> str:
        """The kernel's random name for this boot."""
        return _boot_id()

    def started_at(self, start: int) -> float:
        """Clock ticks since boot as epoch seconds."""
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + start / _TICKS


@cache
def _pid_max() -> int:
    data = (_read_file("/proc/sys/kernel/pid_max") or b"").strip()
    return int(data) if data.isdigit() else 0


@cache
def _boot_id() -> str:
    if data := _read_file("/proc/sys/kernel/random/boot_id"):
        return data.decode().strip()
    from paneview.proc.portable import PortableBackend  # noqa: PLC0415 - slow to load, and hardly ever needed

    return PortableBackend().boot_id()


def _read_file(path: str, *, once: bool = False) -> bytes | None:
    """The file's content; None if it is gone or not readable. ``once``: it fits in one read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return _spare.lend(lambda: _read_plainly(path)) if error.errno in SCARCE else None
    return _read_all(fd, once=once)


def _read_plainly(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in SCARCE:
            raise
        return None
    return _read_all(fd)


def _read_all(fd: int, *, once: bool = False) -> bytes | None:
    try:
        data = os.read(fd, _READ_SIZE)
        while not once and (more := os.read(fd, _READ_SIZE)):
            data += more
    except OSError:  # ESRCH: the process ended between open and read
        return None
    else:
        return data
    finally:
        os.close(fd)
