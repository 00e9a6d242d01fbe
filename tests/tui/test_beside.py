"""What stands beside the tables: the queue in a wide terminal, what is under way, and all that a click does."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from paneview.tui import doing
from tests.harness import eventually
from tests.tui.queue_scenes import office
from tests.tui.running import fleet, running, settled, text
from tests.tui.scenes import hundreds, shop
from tests.tui.scripted import Supervisor, task


async def test_a_wide_terminal_shows_the_queue_beside_the_log() -> None:
    supervisor = office()
    async with running(supervisor, (200, 60)) as pilot:
        await eventually(lambda: "workers:" in text(pilot, "#queue-strip"))
        shown = text(pilot, "#queue-strip")
        assert "dead letter" in shown
        assert "role:reviewer" in shown
        await pilot.click("#queue-strip")
        await eventually(lambda: "queue" in supervisor.topics and pilot.app.screen.CRUMB == "queue")
        await pilot.press("escape")
        await pilot.pause()
        assert "queue" in supervisor.topics  # the strip goes on hearing of it


async def test_no_queue_takes_no_lines() -> None:
    async with running(shop(), (200, 60)) as pilot:
        assert not pilot.app.screen.query_one("#queue-strip").display


async def test_what_takes_longer_is_told_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doing, "MOMENT", 0.01)
    supervisor, over = shop(), asyncio.Event()
    plain = supervisor.call

    async def call(do: str, /, **args: Any) -> dict[str, Any]:
        if do == "restart":
            await over.wait()
        return await plain(do, **args)

    monkeypatch.setattr(supervisor, "call", call)
    async with running(supervisor) as pilot:
        await pilot.press("r")
        await eventually(lambda: "restart importer…" in text(pilot, "#header"))
        over.set()
        await eventually(lambda: "restart importer" not in text(pilot, "#header"))


async def test_a_question_about_many_names_those_that_it_meets_and_counts_the_rest() -> None:
    async with running(hundreds()) as pilot:
        await pilot.press("asterisk", "x")
        await eventually(lambda: "Stop 200 tasks?" in text(pilot) and "No process: service-" in text(pilot))
        shown = " ".join(text(pilot).split())
        assert re.search(r"… and (service-\d+,? ){4}and \d+ more No process: ", shown)
        assert "No process: service-" in shown
        assert "Stays down until somebody starts it." in shown
        assert "\u258c n No" in shown


async def test_clicks_sort_go_and_follow() -> None:
    async with running(shop(), (120, 40)) as pilot:
        table = fleet(pilot).table
        heading = text(pilot, "#tasks").splitlines()[0]
        await pilot.click("#tasks", offset=(heading.index("CPU"), 0))
        await eventually(lambda: table.order == "cpu")
        await pilot.click("#tasks", offset=(heading.index("CPU"), 0))
        await eventually(lambda: table.order == "urgency")
        await pilot.press("G")
        header = text(pilot, "#header")
        await pilot.click("#header", offset=(header.index("failed"), 0))
        await eventually(lambda: table.cursor == "web")
        await settled(pilot)
        await pilot.click("#log", offset=(4, 0))
        await eventually(lambda: "paused" in text(pilot, "#log"))
        await pilot.click("#log", offset=(4, 0))
        await eventually(lambda: "following" in text(pilot, "#log"))


async def test_names_with_numbers_sort_by_these() -> None:
    names = ["w.10", "w.9", "w.1", "a"]
    async with running(Supervisor([task(name) for name in names])) as pilot:
        await pilot.press("o", "o")
        await eventually(lambda: fleet(pilot).table.keys == ["a", "w.1", "w.9", "w.10"])
