"""The journal: changes on their way to disk, and the times of events."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from paneview.config.secrets import Masker
from paneview.control.audience import Audience
from paneview.control.errors import ControlError
from paneview.control.session import ClientInfo
from paneview.store.state import StateStore
from paneview.supervisor.clients.requests import Requests
from paneview.supervisor.clock import Clock
from paneview.supervisor.journal import Journal


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    store = await StateStore.open(tmp_path / "state.db")
    yield Journal(store, Clock(), "shop", (1, 1), Audience(), Masker((), ()))
    await store.close()


async def test_events_follow_the_clock_on_the_wall_and_deadlines_do_not(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even after the clock was set, or the machine slept, an event has the present time."""
    told: list[float] = []
    monkeypatch.setattr(journal._audience, "publish_event", lambda event: told.append(event["ts"]))
    real, began = time.time, journal._clock.now()
    for ahead in (0.0, 3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: real() + ahead)
        await journal.note("config_reloaded")
        assert abs(told[-1] - real() - ahead) < 60
        assert 0 <= journal._clock.now() - began < 60


@pytest.mark.skipif(
    not hasattr(time, "CLOCK_BOOTTIME"), reason="the clock that counts sleep has another name"
)
def test_deadlines_pass_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    began, steady = clock.now(), time.clock_gettime
    slept = {time.CLOCK_BOOTTIME: 3600.0}
    monkeypatch.setattr(time, "clock_gettime", lambda which: steady(which) + slept.get(which, 0.0))
    assert 3600 <= clock.now() - began < 3660


async def test_who_stops_waiting_takes_nobody_else_along(journal: Journal) -> None:
    """The work of a removed task is cancelled while it waits; a client that waits at that moment is answered."""
    journal.note("config_reloaded")
    leaves, stays = asyncio.create_task(journal.durable()), asyncio.create_task(journal.durable())
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    await asyncio.wait_for(stays, 20)


async def test_a_client_is_told_that_what_it_asks_for_cannot_be_read(
    journal: Journal, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        database.execute("DROP TABLE event")
    nobody: Any = SimpleNamespace(handle=print)
    requests = Requests(nobody, nobody, journal, nobody, nobody, nobody, nobody, nobody, nobody)
    wanted = dict.fromkeys(("task", "kinds", "since", "until", "after"))
    with pytest.raises(ControlError, match="no such table") as refused:
        await requests.handle("events", {**wanted, "limit": 1}, ClientInfo(1, None, None))
    assert refused.value.code == "store"
