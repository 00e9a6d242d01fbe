"""What is awaited by many: a change on its way to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from paneview.store.state import StateStore
from paneview.supervisor.clock import Clock
from paneview.supervisor.journal import Journal


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    store = await StateStore.open(tmp_path / "state.db")
    yield Journal(store, Clock(), "shop", 1, 1)
    await store.close()


async def test_who_stops_waiting_takes_nobody_else_along(journal: Journal) -> None:
    """The work of a removed task is cancelled while it waits; the client who asks at that moment is answered."""
    journal.note("config_reloaded")
    leaves, stays = asyncio.create_task(journal.durable()), asyncio.create_task(journal.durable())
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    await asyncio.wait_for(stays, 20)
