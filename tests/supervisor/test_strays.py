"""Runs that belong to no task."""

from __future__ import annotations

import os
import signal
import time

import pytest

from paneview.proc import is_alive
from tests.harness import Sandbox, eventually
from tests.supervisor.inprocess import supervising

WEB = """
    [tasks.web]
    command = "exec sleep 611"
    auto_start = false
"""


async def test_the_end_of_one_is_recorded_by_the_clock_on_the_wall(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervising(sandbox, WEB) as host:
        live, row = await host.launcher.launch(host.project.tasks["web"], host.journal.new_run(), None)
        (pane,) = await host.terminal.session.panes()
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 3600)  # the clock was set
        host._strays.end(pane, row)
        await host._strays.gone()
        await host.journal.durable()
        (stored,) = await host.store.runs("web")
        assert (stored.id, stored.end_reason) == (live.run, "no task accounts for this pane")
        assert stored.ended_at is not None
        assert abs(stored.ended_at - time.time()) < 60


async def test_the_end_of_one_is_recorded_and_its_log_is_closed_if_tmux_dies_before_it_tells_the_exit(
    sandbox: Sandbox,
) -> None:
    async with supervising(sandbox, WEB) as host:
        live, row = await host.launcher.launch(host.project.tasks["web"], host.journal.new_run(), None)
        (pane,) = await host.terminal.session.panes()
        await eventually(live.hears)
        server = host.terminal.session.server_id.pid
        os.kill(server, signal.SIGSTOP)
        try:
            host._strays.end(pane, row)
            await eventually(lambda: live.exit_file.exists() and live.exit_file.read_text())
            await eventually(lambda: live.root and not is_alive(live.root))
        finally:
            os.kill(server, signal.SIGKILL)
        await host._strays.gone()
        await host.journal.durable()
        (stored,) = await host.store.runs("web")
        assert (stored.exit_code, stored.end_reason) == (130, "no task accounts for this pane")
        assert stored.ended_at is not None
        await eventually(lambda: not list(live.spool_prefix.parent.iterdir()))
