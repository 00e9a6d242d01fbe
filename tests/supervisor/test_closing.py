"""A supervisor that ends: a part that fails to close keeps no other open."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from contextlib import closing

import pytest

from paneview.config import paths
from tests.harness import Sandbox, eventually
from tests.supervisor.inprocess import fails_once, supervising


async def test_a_tmux_that_ends_at_the_same_time_is_not_started_again(sandbox: Sandbox) -> None:
    async with supervising(
        sandbox, "tasks.web = { command = 'exec sleep 611', auto_start = false }\n"
    ) as host:
        await host._let_go()
        os.kill(host.terminal.session.server_id.pid, signal.SIGKILL)
        await eventually(lambda: host.terminal.session.gone)
        assert host.terminal._reopening is None


@pytest.mark.parametrize(("part", "method"), [("queue", "stop"), ("web", "close"), ("supervisor", "close")])
async def test_what_is_left_is_closed_and_all_that_happened_is_stored(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, part: str, method: str
) -> None:
    async def supervise() -> None:
        async with supervising(sandbox, "tasks.web.command = 'exec sleep 611'\n") as host:
            broken = getattr(host, part)
            monkeypatch.setattr(broken, method, fails_once(getattr(broken, method), RuntimeError("a defect")))
            host.journal.note("config_reloaded", "the last that happens")

    def left() -> list[str]:
        names = [one.name for one in set(threading.enumerate()) - threads]
        return [name for name in names if name.startswith(("log ingest", "state store"))]

    threads = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="a defect"):
        await supervise()
    await eventually(lambda: not left())
    folder = paths.find_project_dir(sandbox.root / "paneview.toml")
    assert folder
    with closing(sqlite3.connect(paths.state_db(folder))) as stored:
        told = stored.execute("SELECT kind FROM event").fetchall()
    assert ("config_reloaded",) in told
    assert not sandbox.tmux("list-sessions", "-F", "#{session_name}", check=False)
