"""Runs that belong to no task."""

from __future__ import annotations

import time

import pytest

from tests.harness import Sandbox
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
