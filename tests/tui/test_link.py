"""The screen's connection and what it feeds: nothing that is told goes past anybody."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from paneview import __version__
from paneview.control.errors import ControlError
from paneview.tui.app import PaneviewApp
from paneview.tui.picture import Change, Picture
from tests.harness import eventually
from tests.tui.queue_scenes import office
from tests.tui.running import running
from tests.tui.scripted import NOW, Supervisor, event, task


async def test_what_one_screen_begins_to_hear_while_another_ends_is_heard() -> None:
    supervisor = office()
    async with running(supervisor) as pilot:
        link = cast("PaneviewApp", pilot.app).link
        await link.hear("queue", "one", on=True)
        supervisor.delay = 0.05
        await asyncio.gather(link.hear("queue", "one", on=False), link.hear("queue", "other", on=True))
        assert "queue" in supervisor.topics


async def test_a_listener_that_fails_hides_nothing_from_the_others() -> None:
    failed: list[Exception] = []
    heard: list[Change] = []
    picture = Picture(failed=failed.append)
    picture.listen(lambda change: print(change.tasks["none"]))  # type: ignore[call-overload]
    picture.listen(heard.append)
    picture.note("refused", "no")
    await eventually(lambda: bool(heard))
    assert [type(error) for error in failed] == [TypeError]


def test_what_all_tasks_use_together_is_what_they_use_now() -> None:
    picture = Picture(lambda: NOW)

    def hear(**measured: object) -> None:
        picture.take({"push": "tasks", "tasks": [task("a", **measured), task("b", **measured)]})

    hear(cpu_percent=None, rss_bytes=None)
    assert picture.used is None
    hear(cpu_percent=0.5, rss_bytes=1000)
    assert picture.used == (1.0, 2000)
    hear(cpu_percent=None, rss_bytes=None)  # by the next supervisor, at first
    assert picture.used is None
    hear(cpu_percent=0.5, rss_bytes=3000)  # and then perhaps nothing for hours, since nothing changes
    assert picture.used == (1.0, 6000)


async def test_what_a_listener_raises_ends_the_screen_and_is_told() -> None:
    async def fail() -> None:
        async with running(Supervisor([task("web")])) as pilot:
            app = cast("PaneviewApp", pilot.app)
            app.picture.listen(lambda _change: print(1 / 0))
            app.picture.note("refused", "no")
            await eventually(lambda: app.return_code is not None)

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_a_supervisor_of_another_version_is_told_once() -> None:
    class Older(Supervisor):
        def _hello(self, **_: object) -> dict[str, object]:
            return {"version": "0.0.9", "session": "shop", "pid": 77}

    supervisor = Older([task("web")])
    async with running(supervisor) as pilot:
        picture = cast("PaneviewApp", pilot.app).picture
        supervisor.go()
        supervisor.come_back()
        await eventually(lambda: picture.link.phase == "connected")
        await pilot.pause(0.05)
        told = [event.detail["message"] for event in picture.events if event.kind == "version"]
    assert told == [f"the supervisor is paneview 0.0.9, this screen is {__version__}"]


async def test_after_the_store_was_replaced_its_events_are_shown_and_not_those_before() -> None:
    """Numbers begin anew, and an event whose number is known is not shown twice."""
    supervisor = Supervisor([task("web")], events=[event(n, "task_started", "web") for n in range(1, 9)])
    async with running(supervisor) as pilot:
        picture = cast("PaneviewApp", pilot.app).picture
        for later in (
            [event(1, "supervisor_started", ts=NOW)],
            [event(n, "task_ready") for n in range(1, 12)],
        ):
            supervisor.go()
            await eventually(lambda: picture.link.phase == "lost")
            supervisor.events = later
            supervisor.come_back()
            await eventually(lambda: [one.kind for one in picture.events] == [raw["event"] for raw in later])  # noqa: B023
            supervisor.happen("task_killed", "web")
            await eventually(lambda: picture.events[-1].kind == "task_killed")


async def test_what_else_there_is_is_shown_where_the_events_cannot_be_read() -> None:
    supervisor = Supervisor([task("web")])
    supervisor.answers["events"] = ControlError("cannot read state.db: disk I/O error", "internal")
    async with running(supervisor) as pilot:
        picture = pilot.app.picture  # type: ignore[attr-defined]
        await eventually(lambda: picture.flows_known)
        assert picture.link.phase == "connected"
        assert [event.detail["message"] for event in picture.events] == [
            "no events: cannot read state.db: disk I/O error"
        ]
    assert len(supervisor.requests("hello")) == 1
