from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from paneview.proc import ExitWatch, ProcessId, is_alive
from paneview.proc import watch as module
from tests.harness import eventually
from tests.proc.conftest import Run, identity


@pytest.fixture(params=[True, False], ids=["pidfd", "poll"])
async def watch(request: pytest.FixtureRequest) -> AsyncIterator[ExitWatch]:
    watch = ExitWatch(use_pidfd=request.param)
    yield watch
    watch.close()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Nothing stays open."""
    before = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
    yield
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before)


async def test_each_exit_is_told_once(run: Run, watch: ExitWatch) -> None:
    processes = [run("exec sleep 60") for _ in range(20)]
    ended: list[ProcessId] = []
    for process in processes:
        watch.watch(identity(process), ended.append)
    expected = {identity(process) for process in processes}
    last = asyncio.create_task(watch.wait(identity(processes[-1])))
    for process in processes:
        process.kill()  # nobody reaps them: a zombie has ended
    async with asyncio.timeout(10):
        await last
    await eventually(lambda: len(ended) == 20)
    assert set(ended) == expected


async def test_one_that_is_gone_already(run: Run, watch: ExitWatch) -> None:
    process = run("exec sleep 60")
    this = identity(process)
    process.kill()
    process.wait()
    async with asyncio.timeout(10):
        await watch.wait(this)
        await watch.wait(ProcessId(os.getpid(), 1))  # the number is taken, the process another


async def test_one_that_cannot_be_looked_at_for_a_while(
    run: Run, watch: ExitWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = run("exec sleep 60")
    this, lacking = identity(process), [OSError(errno.EMFILE, "no descriptor")] * 3

    def look(seen: ProcessId) -> bool:
        if lacking:
            raise lacking.pop()
        return is_alive(seen)

    monkeypatch.setattr(module, "is_alive", look)
    waiting = asyncio.create_task(watch.wait(this))
    await asyncio.sleep(0)
    process.kill()
    await asyncio.wait_for(waiting, 10)


async def test_unwatched_is_not_told(run: Run, watch: ExitWatch) -> None:
    alone, shared = run("exec sleep 60"), run("exec sleep 60")
    ended: list[ProcessId] = []
    for process in (alone, shared):
        watch.watch(identity(process), ended.append)
    told = asyncio.create_task(watch.wait(identity(shared)))
    await asyncio.sleep(0)
    for process in (alone, shared):
        watch.unwatch(identity(process), ended.append)
    for process in (alone, shared):
        process.kill()
        process.wait()
    async with asyncio.timeout(10):
        await told  # after whoever began to watch before
    assert not ended


async def test_no_descriptor_is_kept(descriptors: None, run: Run) -> None:
    watch = ExitWatch()
    process = run("exec sleep 60")
    waiting = asyncio.create_task(watch.wait(identity(process)))
    process.kill()
    await asyncio.wait_for(waiting, 10)
    other = run("exec sleep 60")
    watch.watch(identity(other), lambda _: None)
    watch.close()
