"""Background work: a failure is reported, and the work goes on."""

from __future__ import annotations

import asyncio
import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from paneview.supervisor import background
from paneview.supervisor.background import Background
from paneview.supervisor.host import Host
from paneview.supervisor.logs import runlogs
from paneview.supervisor.tasks.outages import Outages
from tests.harness import Sandbox, eventually
from tests.supervisor.inprocess import fails_once, supervising

SCARCE = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
WEB = """
    [tasks.web]
    command = "echo one; exec sleep 611"
"""


async def told(host: Host) -> list[str]:
    return [event.cause for event in await host.store.events(kinds=["internal_error"])]


async def test_it_is_told_and_done_again_after_pauses_that_grow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(background, "LONGEST_PAUSE", 0.4)
    loop = asyncio.get_running_loop()
    now, runs, pauses = loop.time(), 0, list[float]()
    monkeypatch.setattr(loop, "time", lambda: now)
    noted: list[tuple[str, str]] = []
    journal: Any = SimpleNamespace(note=lambda kind, cause: noted.append((kind, cause)))

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        nonlocal now, runs
        runs += 1
        if runs == 5:
            now += 0.5  # it works for longer than the longest pause
        if runs < 7:
            raise RuntimeError("a defect")

    monkeypatch.setattr(asyncio, "sleep", pause)
    kept = Background(journal)
    kept.keep(work, "the work")
    await asyncio.wait_for(asyncio.gather(*kept._going), 20)
    assert pauses == [0.1, 0.2, 0.4, 0.4, 0.1, 0.2]
    assert noted == [("internal_error", "the work: RuntimeError('a defect')")] * 6
    assert "the work: failed" in caplog.text


async def test_a_defect_in_what_nobody_awaits_is_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    noted: list[tuple[str, str]] = []
    journal: Any = SimpleNamespace(note=lambda kind, cause: noted.append((kind, cause)))
    heard = Background(journal)

    async def fail() -> None:
        raise RuntimeError("a defect")

    def ten_times() -> None:
        for _ in range(10):
            loop.create_task(fail())  # noqa: RUF006 - nobody keeps it

    ten_times()
    lost = "internal_error", "Task exception was never retrieved: RuntimeError('a defect')"
    await eventually(lambda: caplog.text.count("never retrieved") == 10)
    assert noted == [lost]
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + background.LONGEST_PAUSE)
    ten_times()
    await eventually(lambda: len(noted) == 2)
    loop.call_exception_handler({"message": "Fatal read error", "exception": OSError(), "transport": None})
    assert noted == [lost, lost]
    await heard.close()
    ten_times()
    await eventually(lambda: caplog.text.count("never retrieved") == 30)
    assert len(noted) == 2


async def test_pipes_are_looked_after_again_when_there_are_descriptors(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runlogs, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.05)
    async with supervising(sandbox, WEB) as host:
        monkeypatch.setattr(host.logs, "_unwritten", fails_once(host.logs._unwritten, SCARCE))
        await eventually(lambda: told(host))
        live = await eventually(lambda: host.supervisor.unit("web").live)
        sandbox.tmux("pipe-pane", "-t", live.pane_id)
        await eventually(lambda: host.store.events(kinds=["log_gap"]))
        assert await told(host) == [f"looking after the logs' pipes: {SCARCE!r}"]


async def test_a_session_that_is_lost_is_opened_and_its_runs_are_ended_whatever_fails_first(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.05)
    defect = RuntimeError("a defect")
    async with supervising(sandbox, WEB) as host:
        unit = host.supervisor.unit("web")
        await eventually(lambda: unit.live)
        first = unit.state.run
        monkeypatch.setattr(Outages, "_settle", fails_once(Outages._settle, defect))
        monkeypatch.setattr(host.terminal, "_connect", fails_once(host.terminal._connect, defect))
        sandbox.tmux("kill-session", "-t", "=proj")
        await eventually(lambda: unit.live is not None and unit.state.run != first)
        assert await host.store.events(kinds=["task_lost"])
        assert await told(host) == [f"ending what is left of web: {defect!r}"]
