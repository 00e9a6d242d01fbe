"""While tmux is stopped: clients get an error, none waits for ever, and their requests are carried out in the end."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from paneview.control.errors import ControlError
from paneview.control.session import ClientInfo
from paneview.rules.states import TaskPhase
from paneview.supervisor import terminal
from tests.harness import Sandbox, eventually
from tests.supervisor.inprocess import supervising

TEXT = """
    [tasks.a]
    command = "exec sleep 614"
    [tasks.b]
    command = "exec sleep 615"
    auto_start = false
"""


async def test_nobody_waits_for_it_and_it_loses_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ClientInfo(1, None, None)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("capture", {"task": "a"}),
        ("start", {"tasks": ["b"], "deps": True}),
        ("stop", {"tasks": ["a"]}),
        ("kill", {"tasks": ["a"]}),
    ]
    async with supervising(sandbox, TEXT) as host:
        a, b = host.supervisor.unit("a"), host.supervisor.unit("b")
        await eventually(lambda: a.state.phase is TaskPhase.RUNNING)
        monkeypatch.setattr(terminal, "PATIENCE", 0.5)
        server = host.terminal.session.server_id.pid
        os.kill(server, signal.SIGSTOP)
        try:
            for do, args in asked:
                with pytest.raises(ControlError, match=rf"process {server}\) has not answered for") as error:
                    await host._requests.handle(do, args, client)
                assert error.value.code == "tmux"
            assert (a.state.phase, b.state.phase) == (TaskPhase.STOPPING, TaskPhase.STARTING)
            await eventually(lambda: a.state.tree_gone)  # so that no further signal is due
            assert (await host._requests.handle("status", {}, client))["tasks"]
        finally:
            os.kill(server, signal.SIGCONT)
        await eventually(lambda: (a.state.phase, b.state.phase) == (TaskPhase.STOPPED, TaskPhase.RUNNING))
        await host.supervisor.services.journal.durable()  # what is told at once is on disk a moment later
        assert [run.task for run in await host.store.runs()] == ["b", "a"]


async def test_a_change_of_the_file_is_applied_although_tmux_dies_before_it_has_closed_a_window(
    sandbox: Sandbox,
) -> None:
    client, text = ClientInfo(1, None, None), '[tasks.a]\ncommand = "exec sleep 614"\n'
    async with supervising(sandbox, text + '[tasks.b]\ncommand = "true"\n') as host:
        b = host.supervisor.unit("b")
        await eventually(lambda: b.state.phase is TaskPhase.DONE)
        server = host.terminal.session.server_id.pid
        os.kill(server, signal.SIGSTOP)
        try:
            host.project.file.write_text(f'name = "proj"\n{text}[tasks.c]\ncommand = "true"\n')
            reload = asyncio.ensure_future(host._requests.handle("reload", {}, client))
            await eventually(lambda: "b" not in host.supervisor.units)
        finally:
            os.kill(server, signal.SIGKILL)
        assert ((await reload)["added"], (await reload)["removed"]) == (["c"], ["b"])
        assert list(host.supervisor.units) == ["a", "c"]
