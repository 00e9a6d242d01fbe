"""Processes read by psutil, for systems without ``/proc``; the same answers, ten times slower."""

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
_YOUNG = 2.0  # seconds in which a process has made its exec, if it ever does


class PortableBackend:
    """`Backend` over psutil."""

    def keep_spare(self) -> None:
        """The kernel is asked without a descriptor here."""

    def pids(self) -> list[int]:
        """The ids of all processes."""
        return psutil.pids()

    def read(self, pid: int) -> Row | None:
        """The process of this id, None if there is none."""
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
        """Its initial environment as ``K=V`` parted by NULs; None if it is not ours to read."""
        try:
            pairs = psutil.Process(pid).environ()
        except (psutil.Error, OSError):
            return None
        return b"".join(os.fsencode(f"{key}={value}\0") for key, value in pairs.items())

    def command_line(self, pid: int) -> list[str]:
        """The arguments it was started with, its program first; nothing if it is gone or not ours to see."""
        try:
            return psutil.Process(pid).cmdline()
        except (psutil.Error, OSError):
            return []

    def terminal(self, pid: int) -> str | None:
        """The path of the terminal that its session holds; None without one."""
        try:
            return psutil.Process(pid).terminal()
        except (psutil.Error, OSError):
            return None

    def forks(self) -> None:
        """The system does not tell."""

    def boot_id(self) -> str:
        """The system's own name for this boot, else one made of its time."""
        return _boot_session() or named_by_time(psutil.boot_time())

    def started_at(self, start: int) -> float:
        """Epoch seconds."""
        return start / _UNIT


def started(process: psutil.Process) -> float:
    """When it was started, epoch seconds, by the clock of then: what names it must not move with a later clock."""
    if sys.platform == "darwin":  # where psutil moves it, from 7.1 on
        with suppress(TypeError):
            return float(process._proc.create_time(monotonic=True))  # type: ignore[attr-defined]
    return process.create_time()


def named_by_time(booted: float) -> str:
    """A name for the boot of then. That time moves when the clock is set: to ten seconds it is as good as a name."""
    return f"boot-{round(booted, -1):.0f}"


@cache
def _boot_session() -> str:
    """What macOS calls this boot, whatever is done to its clock; empty where the system has no name for it."""
    import ctypes  # noqa: PLC0415 - asked once, and by few

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
    """CPU seconds and resident bytes; zero where the system does not tell (another user's process)."""
    try:
        times = process.cpu_times()
        return times.user + times.system, process.memory_info().rss
    except psutil.AccessDenied:
        return 0.0, 0


def _foreground(process: psutil.Process) -> int:
    """Asked of the terminal itself, which lets only its own session ask; others are told by `signals`."""
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
