"""Logs of several tasks together: merged by time, side by side."""

from __future__ import annotations

import re

import pytest
from textual.pilot import Pilot

from paneview.tui.logs import window as logwindow
from paneview.tui.logs.view import LogView
from tests.harness import eventually
from tests.tui.running import running, settled, text, toasts
from tests.tui.scripted import Supervisor, task


def three() -> Supervisor:
    names = ("api", "web", "job")
    logs = {name: [f"{name} says {number}" for number in range(40)] for name in names}
    return Supervisor([task(name) for name in names], logs=logs)


async def mark_two_and_merge(pilot: Pilot[int]) -> None:
    await pilot.press("g", "space", "space", "equals_sign")
    await eventually(lambda: " logs " in text(pilot, "#header"))
    await settled(pilot)


async def test_the_marked_tasks_logs_are_merged_by_time() -> None:
    supervisor = three()
    async with running(supervisor) as pilot:
        await mark_two_and_merge(pilot)
        await eventually(lambda: "web web says 39" in text(pilot, "#log"))
        shown = text(pilot, "#log")
        assert "api + web" in shown
        assert "80 lines" in shown
        assert (
            shown.index("api api says 38") < shown.index("web web says 38") < shown.index("api api says 39")
        )
        supervisor.write("api", "api says more")
        await eventually(lambda: "api api says more" in text(pilot, "#log"))
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert " fleet " in text(pilot, "#header")


async def test_a_merged_log_tells_long_names_apart_and_its_times_are_those_of_the_clock() -> None:
    names = ("service-of-the-platform-1", "service-of-the-platform-2")
    logs = {name: ["one", "two"] for name in names}
    async with running(Supervisor([task(name) for name in names], logs=logs)) as pilot:
        await mark_two_and_merge(pilot)
        await eventually(lambda: all(f"rm-{at} two" in text(pilot, "#log") for at in (1, 2)))
        await pilot.press("T")
        assert re.search(r"rm-1 +\d\d:\d\d:\d\d\.\d{3} two", text(pilot, "#log"))
        await pilot.press("T")
        assert "rm-1 two" in text(pilot, "#log")


@pytest.mark.parametrize("keys", [[], ["f"]])
async def test_a_merged_line_that_gets_another_place_is_shown_once(keys: list[str]) -> None:
    supervisor = three()
    supervisor.logs["web"] = supervisor.logs["web"][:34]
    async with running(supervisor) as pilot:
        await mark_two_and_merge(pilot)
        await eventually(lambda: "api api says 39" in text(pilot, "#log"))
        await pilot.press(*keys)
        supervisor.write("web", "web says 34", "web says 35")  # before what is shown already
        await eventually(lambda: "web web says 35" in text(pilot, "#log"))
        shown = [line for line in text(pilot, "#log").splitlines() if " says " in line]
        names = [f"{name} {name} says {at}" for at in range(40) for name in ("api", "web")]
        names = [name for name in names if name not in {f"web web says {at}" for at in range(36, 40)}]
        first = names.index(shown[0].rstrip(" ▐"))
        assert [line.rstrip(" ▐") for line in shown] == names[first : first + len(shown)]


async def test_a_filter_of_a_merged_log_finds_a_line_that_grows_among_others() -> None:
    supervisor = three()
    supervisor.logs["web"] = [*supervisor.logs["web"][:34], "web goes "]
    async with running(supervisor) as pilot:
        await mark_two_and_merge(pilot)
        await pilot.press("ampersand", *"web goes on", "enter")
        await eventually(lambda: "no match" in text(pilot, "#log"))
        supervisor.logs["web"][-1] = "web goes on"
        supervisor.write("api", "api says 40")
        await eventually(lambda: "web web goes on" in text(pilot, "#log"))
        supervisor.logs["web"].insert(0, "web says more")  # so the line comes later among the others
        supervisor.write("web")
        await settled(pilot)
        await eventually(lambda: "web web goes on" in text(pilot, "#log"))
        assert "&web goes on 1 matches" in text(pilot, "#log")


async def test_the_order_of_a_merged_log_is_looked_at_once_more_when_it_is_final(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logwindow, "SETTLES", 0.1)
    supervisor = three()
    supervisor.logs["web"] = supervisor.logs["web"][:34]
    async with running(supervisor) as pilot:
        await mark_two_and_merge(pilot)
        supervisor.write("api", "api says 40")
        await eventually(lambda: "api api says 40" in text(pilot, "#log"))
        supervisor.logs["web"].insert(0, supervisor.logs["web"].pop())  # of which nobody is told
        await eventually(lambda: "web web says 33" not in text(pilot, "#log"))
        await eventually(lambda: pilot.app.screen.query_one("#log", LogView)._settling is None)
        await settled(pilot)
        supervisor.asked.clear()
        await pilot.pause(0.25)
        assert not supervisor.asked


async def test_side_by_side_on_a_wide_screen() -> None:
    supervisor = three()
    async with running(supervisor, (200, 60)) as pilot:
        await pilot.press("asterisk", "equals_sign")
        await eventually(lambda: "api + web + job" in text(pilot))
        await pilot.press("equals_sign")
        await eventually(lambda: all(f"── {name} " in text(pilot) for name in ("api", "web", "job")))
        await settled(pilot)
        assert "api says 39" in text(pilot, "#log")
        assert "job says 39" in text(pilot, "#log-3")
        supervisor.write("web", "web says more")
        await eventually(lambda: "web says more" in text(pilot, "#log-2"))
        await pilot.press("tab", "r")
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["web"]}])
        await pilot.press("equals_sign")
        await eventually(lambda: "api + web + job" in text(pilot))
        await pilot.press("right_curly_bracket")
        await eventually(lambda: "+ web" not in text(pilot))


async def test_side_by_side_a_search_is_tried_in_the_log_with_the_focus() -> None:
    async with running(three(), (200, 60)) as pilot:
        await pilot.press("asterisk", "equals_sign", "equals_sign")
        await eventually(lambda: "web says 39" in text(pilot, "#log-2"))
        await pilot.press("tab", "slash", *"says 3")
        await eventually(lambda: "/says 3 1 of 11" in text(pilot, "#log-2"))
        assert "/says" not in text(pilot, "#log")
        await pilot.press("escape")
        await eventually(lambda: "/says" not in text(pilot))
        assert pilot.app.screen.query_one("#log-2", LogView).state.follow  # type: ignore[union-attr]


async def test_a_hit_that_comes_when_another_log_is_shown_moves_only_its_own() -> None:
    supervisor = three()
    async with running(supervisor) as pilot:
        await pilot.press("g", "2")
        await eventually(lambda: "api says 39" in text(pilot, "#log"))
        await settled(pilot)
        supervisor.delay = 0.15
        await pilot.press("slash", *"says 7", "enter")
        await eventually(lambda: bool(supervisor.requests("log_find")))
        await pilot.press("right_curly_bracket")
        supervisor.delay = 0.0
        searched = pilot.app.logs.of("api")
        await eventually(lambda: searched.search is not None and searched.search.at == 7)
        await settled(pilot)
        view = pilot.app.screen.query_one(LogView)
        assert view.state is not searched
        assert view.state is not None
        assert view.state.follow
        assert "web says 39" in text(pilot, "#log")
        await pilot.press("left_curly_bracket")
        await eventually(lambda: "api says 7" in text(pilot, "#log"))


async def test_without_marks_or_room_the_next_key_is_named() -> None:
    async with running(three()) as pilot:
        await pilot.press("equals_sign")
        await eventually(lambda: any("Mark two tasks" in told for told in toasts(pilot)))
        await mark_two_and_merge(pilot)
        await pilot.press("equals_sign")
        await eventually(lambda: "There is no room for logs side by side" in toasts(pilot))


async def test_merging_by_command() -> None:
    async with running(three()) as pilot:
        await pilot.press("colon", *"merge job api", "enter")
        await eventually(lambda: "job + api" in text(pilot))
        await pilot.press("colon", *"merge job", "enter")
        await eventually(lambda: "merge TASK TASK…" in toasts(pilot))
