"""Whether a flood is stored as it comes depends on who watches."""

from __future__ import annotations

import asyncio

from paneview.config import paths
from paneview.control.blocking import Connection
from tests.harness import Sandbox, eventually
from tests.supervisor.inprocess import supervising

TICKS = "[tasks.t]\ncommand = 'while :; do echo tick; sleep 0.05; done'"


async def test_a_client_that_hears_of_growth_watches(sandbox: Sandbox) -> None:
    async with supervising(sandbox, TICKS) as host:
        await host.supervisor.start(["t"], "test")
        await eventually(lambda: host.picture.status()["tasks"][0]["log_end"] > 1)
        assert not host.ingest.watched

        with await asyncio.to_thread(Connection, str(paths.control_socket(host.folder))) as client:
            await asyncio.to_thread(client.call, "subscribe", {"topics": ["heads"]})
            await eventually(lambda: host.ingest.watched)

        await eventually(lambda: not host.ingest.watched)
