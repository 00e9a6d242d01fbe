"""Processes read by psutil, for systems without ``/proc``: the same results, ten times slower."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from functools import cache

import psutil

from paneview.proc.row import Row

_STATES = {psutil.STATUS_ZOMBIE: "Z", psutil.STATUS_DEAD: "X", psutil.STATUS_STOPPED: "T"}
# psutil gives the start as epoch seconds; as an integer of this unit it can be compared exactly and stored.
_UNIT = 1000.0
_YOUNG = 2.0  # seconds within which a process calls exec, if it ever does


class PortableBackend:
    """`Backend` over psutil."""

    def keep_spare(self) -> None:
        """Nothing to do: reading needs no descriptor here."""

    def pids(self) -> list[int]:
        """The pids of all processes."""
        return psutil.pids()

    def read(self, pid: int) -> Row | None:
        """The process with this pid; None if there is none."""
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                state = _STATES.get(process.status(), "R")
                times, rss = _usage(process)
                return Row(
                    pid=pid,
                    ppid=process.ppid(),
                    group=os.getpgid(pid),
                    session=os.getsid(pid),
                    foreground=_foreground(process),
                    state=state,
                    start=round(started(process) * _UNIT),
                    cpu_ticks=round(times * 100),
                    rss_bytes=rss,
                    name=process.name(),
                    forked=time.time() - process.create_time() < _YOUNG,
                )
        except (psutil.Error, ProcessLookupError, PermissionError):
            return None

    def environment(self, pid: int) -> bytes | None:
        """The process's initial environment, ``K=V`` separated by NULs; None if it is not readable."""
        try:
            pairs = psutil.Process(pid).environ()
        except (psutil.Error, OSError):
            return None
        return b"".join(os.fsencode(f"{key}={value}\0") for key, value in pairs.items())

    def command_line(self, pid: int) -> list[str]:
        """The arguments of the process, its program first; empty if it is gone or not accessible."""
        try:
            return psutil.Process(pid).cmdline()
        except (psutil.Error, OSError):
            return []

    def folder(self, pid: int) -> str | None:
        """The process's current folder; None if it is gone or not accessible."""
        try:
            return psutil.Process(pid).cwd()
        except (psutil.Error, OSError):
            return None

    def terminal(self, pid: int) -> str | None:
        """The path of its session's terminal; None without one."""
        try:
            return psutil.Process(pid).terminal()
        except (psutil.Error, OSError):
            return None

    def forks(self) -> None:
        """None: the system does not tell."""

    def boot_id(self) -> str:
        """The system's own name for this boot, else one derived from its time."""
        return _boot_session() or named_by_time(psutil.boot_time())

    def started_at(self, start: int) -> float:
        """``Row.start`` as epoch seconds."""
        return start / _UNIT


def started(process: psutil.Process) -> float:
    """When it was started, epoch seconds, by the clock of then: what names it must not move with a later clock."""
    if sys.platform == "darwin":  # where psutil moves it, from 7.1 on
        with suppress(TypeError):
            return float(process._proc.create_time(monotonic=True))  # type: ignore[attr-defined]
    return process.create_time()


def named_by_time(booted: float) -> str:
    """A name for the boot at that time, rounded to ten seconds because it shifts when the clock is set."""
    return f"boot-{round(booted, -1):.0f}"


@cache
def _boot_session() -> str:
    """macOS's name for this boot, independent of the clock; empty if the system has none."""
    import ctypes  # noqa: PLC0415 - rarely needed, and only once

    try:
        ask = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return ""
    value = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(value))
    if ask(b"kern.bootsessionuuid", value, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return ""
    return value.value.decode()


def _usage(process: psutil.Process) -> tuple[float, int]:
    """CPU seconds and resident bytes; zero if the system does not tell (another user's process)."""
    try:
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss
    except psutil.AccessDenied:
        return 0.0, 0


def _foreground(process: psutil.Process) -> int:
    """The foreground group of its terminal, which only processes of the same session may ask; -1 if unknown."""
    try:
        terminal = process.terminal()
        if terminal is None:
            return -1
        fd = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except (psutil.Error, OSError):
        return -1
    try:
        return os.tcgetpgrp(fd)
    except OSError:
        return -1
    finally:
        os.close(fd)
