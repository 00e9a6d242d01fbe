"""Signals to exactly the processes that were meant, and the wait until the last of them is gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable

from paneview.proc.backend import backend
from paneview.proc.ids import ProcessId, is_alive
from paneview.proc.table import ProcessTable
from paneview.proc.watch import ExitWatch

Find = Callable[[ProcessTable], set[ProcessId]]


def send(number: int, processes: Iterable[ProcessId]) -> set[ProcessId]:
    """Send a signal to each process that still is the one named; those that got it."""
    return {process for process in processes if _send_one(number, process)}


def _send_one(number: int, process: ProcessId) -> bool:
    try:
        if hasattr(os, "pidfd_open"):
            fd = os.pidfd_open(process.pid)
            try:
                if not is_alive(process):
                    return False
                signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)
        elif is_alive(process):
            os.kill(process.pid, number)
        else:
            return False
    except (ProcessLookupError, PermissionError):
        return False
    return True


def interrupt(pane: ProcessId, number: int = signal.SIGINT) -> bool:
    """What Ctrl-C does: signal the foreground process group of the terminal that ``pane`` leads.

    Sent by the kernel's own notion of the foreground, so it neither depends on what the terminal's keys are
    set to nor is swallowed by tmux's copy mode. False if there is no such group any more.
    """
    row = backend.read(pane.pid)
    if row is None or row.start != pane.start or row.dead:
        return False
    # Without a terminal of its own, the group that the process leads is the nearest thing.
    group = row.foreground if row.foreground > 1 else row.group
    if group <= 1 or group == os.getpgrp():
        return False
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def wait_gone(
    find: Find,
    timeout: float | None = None,  # noqa: ASYNC109 - its end is an answer here, not an error
    watch: ExitWatch | None = None,
) -> bool:
    """Return True the moment the last process that ``find`` finds is gone, False after ``timeout`` seconds.

    ``find`` is given a look that is new each time, shared with others who wait. It is asked again whenever all that
    were known have ended, since they may have started others; and what looks like nothing left is looked at twice: a
    pass over the process list is no snapshot, and a fork can hide behind it.
    """
    own = watch or ExitWatch()
    try:
        async with asyncio.timeout(timeout):
            while True:
                if found := find(await ProcessTable.fresh()):
                    await _all_ended(own, found)
                    continue
                if not find(await ProcessTable.fresh()):
                    return True
    except TimeoutError:
        return False
    finally:
        if watch is None:
            own.close()


async def kill_until_gone(
    find: Find,
    timeout: float | None = None,  # noqa: ASYNC109 - as in `wait_gone`
    watch: ExitWatch | None = None,
) -> bool:
    """SIGKILL to whatever ``find`` finds, again until nothing is left; False after ``timeout`` seconds."""

    def find_and_kill(table: ProcessTable) -> set[ProcessId]:
        found = find(table)
        send(signal.SIGKILL, found)
        return found

    return await wait_gone(find_and_kill, timeout, watch)


async def _all_ended(watch: ExitWatch, processes: set[ProcessId]) -> None:
    done = asyncio.get_running_loop().create_future()
    left = set(processes)

    def tell(process: ProcessId) -> None:
        left.discard(process)
        if not left and not done.done():
            done.set_result(None)

    for process in processes:
        watch.watch(process, tell)
    try:
        await done
    finally:
        for process in processes:
            watch.unwatch(process, tell)
