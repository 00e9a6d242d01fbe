"""Waiting until a set of processes is gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from paneview.proc.ids import ProcessId
from paneview.proc.signals import send
from paneview.proc.table import ProcessTable
from paneview.proc.watch import ExitWatch

Find = Callable[[ProcessTable], set[ProcessId]]


async def wait_gone(
    find: Find,
    timeout: float | None = None,  # noqa: ASYNC109 - returns False at its end, raises nothing
    watch: ExitWatch | None = None,
) -> bool:
    """Return True as soon as the last process that ``find`` finds is gone, False after ``timeout`` seconds.

    ``find`` gets a new process table each time, shared with other waiters. It is called again whenever all known
    processes have ended, since they may have started others; and when nothing seems left, it is called once more: a
    pass over the process list is not a snapshot, and a fork can escape it.
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
    timeout: float,  # noqa: ASYNC109 - as in `wait_gone`
) -> bool:
    """Send SIGKILL to whatever ``find`` finds until nothing is left; False after ``timeout`` seconds."""

    def find_and_kill(table: ProcessTable) -> set[ProcessId]:
        found = find(table)
        send(signal.SIGKILL, found)
        return found

    return await wait_gone(find_and_kill, timeout)


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
