"""Whatever goes wrong in a launch: the rules are told, and no process of it is left."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace

from paneview.control.session import ClientInfo
from paneview.rules.states import TaskPhase
from paneview.supervisor.host import Host
from paneview.supervisor.runs import hooks, launching
from paneview.supervisor.tasks.unit import Unit
from paneview.tmux import spawn
from paneview.tmux.quote import command
from tests.harness import Sandbox, eventually, words_of
from tests.supervisor.inprocess import fails_once, supervising

TASKS = """
    [tasks.web]
    command = "exec sleep 611"
    hooks.before_start = "true"
    hooks.before_stop = "echo one"
    hooks.after_stop = "echo two"
    auto_start = false
"""
PARTS = (("logs", "announce"), ("launcher", "_make_way"), ("launcher", "_spawn"), ("launcher", "row"))
FAULTS = (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), RuntimeError("a defect"))


@pytest_asyncio.fixture
async def host(sandbox: Sandbox) -> AsyncIterator[Host]:
    async with supervising(sandbox, TASKS) as one:
        yield one


def web(host: Host) -> Unit:
    return host.supervisor.unit("web")


async def runs_once(host: Host, sandbox: Sandbox, name: str = "web") -> None:
    """Wait until the task runs, as the only process and in one window."""
    await eventually(lambda: host.supervisor.unit(name).state.phase is TaskPhase.RUNNING)
    await eventually(lambda: len([one for one in sandbox.processes() if "611" in words_of(one)]) == 1)
    await eventually(lambda: sandbox.tmux("list-windows", "-F", "#{window_name}").split().count(name) == 1)


async def test_a_launch_that_breaks_is_tried_again_and_leaves_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [(part, method, fault) for part, method in PARTS for fault in FAULTS]
    names = [f"web{number}" for number in range(len(cases))]
    # A task for each case: what is launched for the second time has a pane already.
    async with supervising(sandbox, "".join(TASKS.replace("web", name) for name in names)) as host:
        for name, (part, method, fault) in zip(names, cases, strict=True):
            broken = getattr(host, part)
            with monkeypatch.context() as patch:
                patch.setattr(broken, method, fails_once(getattr(broken, method), fault))
                await asyncio.wait_for(host.supervisor.start([name], "test"), 20)
                await runs_once(host, sandbox, name)
            assert host.supervisor.unit(name).state.attempt == 1, (name, part, method, fault)
            await host.supervisor.kill([name], "test")


async def test_a_run_that_tmux_was_not_asked_for_is_not_looked_for(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the pane of the previous run is kept."""
    await host.supervisor.start(["web"], "test")
    await host.supervisor.stop(["web"], "test")
    swept: list[object] = []
    monkeypatch.setattr(host.ender, "sweep_unborn", swept.append)
    web(host).task = replace(web(host).task, command=f"exec sleep {'6' * 200_000}")
    starting = asyncio.create_task(host.supervisor.start(["web"], "test"))
    await eventually(lambda: web(host).state.phase is TaskPhase.BACKOFF)
    starting.cancel()
    assert "the command is too long for the system" in web(host).state.reason
    assert not swept
    row = web(host).row
    assert row
    assert host.terminal.has_pane(row.pane_id, "web")


async def test_a_run_that_tmux_could_not_make_whole_in_its_old_pane_is_not_made_again_beside_it(
    host: Host, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.supervisor.start(["web"], "test")
    await host.supervisor.stop(["web"], "test")
    refused, real = [[command("kill-pane", "-t", "%999")]], spawn.pipe_group
    monkeypatch.setattr(spawn, "pipe_group", lambda *args: refused.pop() if refused else real(*args))
    await host.supervisor.start(["web"], "test")
    await runs_once(host, sandbox)
    assert web(host).state.attempt == 1


async def test_the_exit_code_of_a_run_goes_some_time_after_the_next_has_begun(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "CLEAR_AFTER", 0.05)
    for _ in range(2):
        await host.supervisor.start(["web"], "test")
        # Earlier, the guard may not get to write the exit code.
        await eventually(lambda: (live := web(host).live) and live.hears())
        await host.supervisor.stop(["web"], "test")
    await eventually(lambda: host._places.written() == [web(host).state.run])


async def test_a_launch_that_waits_for_tmux_can_be_stopped(host: Host) -> None:
    host.terminal._ready.clear()
    try:
        starting = asyncio.create_task(host.supervisor.start(["web"], "test"))
        await eventually(lambda: host.launcher._preparing)
        await asyncio.wait_for(host.supervisor.stop(["web"], "test"), 20)
        await asyncio.wait_for(starting, 20)
        assert web(host).state.phase is TaskPhase.STOPPED
    finally:
        host.terminal._ready.set()


async def test_a_hook_that_breaks_refuses_a_stop_and_holds_up_none(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.supervisor.start(["web"], "test")
    monkeypatch.setattr(hooks, "run_command", lambda *_, **__: 1 / 0)
    refused = await asyncio.wait_for(host.supervisor.stop(["web"], "test"), 20)
    assert "before_stop hook could not be run: internal error: ZeroDivisionError" in refused["web"]
    await asyncio.wait_for(host.supervisor.kill(["web"], "test"), 20)
    assert web(host).state.phase is TaskPhase.STOPPED
    await host.journal.durable()
    _, told = await host.store.events(kinds=["hook_failed"])
    assert "after_stop hook could not be run: internal error: ZeroDivisionError" in told.cause


async def test_a_hook_that_found_no_room_is_run_again_before_a_start(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "run_command", fails_once(hooks.run_command, FAULTS[0]))
    await asyncio.wait_for(host.supervisor.start(["web"], "test"), 20)
    assert (web(host).state.phase, web(host).state.attempt) == (TaskPhase.RUNNING, 1)


async def test_a_hook_whose_output_cannot_be_kept_has_run(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = host.ingest.append
    for fault in FAULTS:
        await host.supervisor.start(["web"], "test")
        monkeypatch.setattr(host.ingest, "append", fails_once(append, fault))
        assert not await asyncio.wait_for(host.supervisor.stop(["web"], "test"), 20), fault
        assert web(host).state.phase is TaskPhase.STOPPED, fault


async def test_hooks_do_not_have_what_was_removed_from_the_file(sandbox: Sandbox) -> None:
    text = """
        [tasks.t]
        command = "exec sleep 617"
        hooks.before_start = "echo ${STAGE-none} >>stages"
        """
    stages = sandbox.root / "stages"
    async with supervising(sandbox, f'env = {{STAGE = "test"}}\n{text}') as host:
        await eventually(lambda: host.supervisor.unit("t").state.phase is TaskPhase.RUNNING)
        host.project.file.write_text(f'name = "proj"\n{text}')
        await host._requests.handle("reload", {}, ClientInfo(1, None, None))
        assert stages.read_text().split() == ["test", "none"]
