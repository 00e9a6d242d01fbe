"""The screen of events: its filter, and what is said where it shows less than all."""

from __future__ import annotations

import pytest

from paneview.tui.picture import KEPT_EVENTS
from paneview.tui.screens import aim
from tests.harness import eventually
from tests.tui.running import fleet, running, settled, text, toasts
from tests.tui.scenes import shop
from tests.tui.scripted import NOW, Supervisor, event, task

EARLIER = "earlier ones: paneview events -n"


def eventful(count: int) -> Supervisor:
    """So much has happened."""
    return Supervisor(
        [task("web")], events=[event(n, "task_started", "web", run=n) for n in range(1, count + 1)]
    )


async def test_what_happened_while_another_screen_was_shown_is_told_on_the_first() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("2")
        await eventually(lambda: " logs " in text(pilot, "#header"))
        supervisor.happen("task_killed", "api", actor="user:bob")
        await eventually(lambda: len(pilot.app.picture.events) == len(supervisor.events))
        await settled(pilot)
        await pilot.press("1")
        await eventually(lambda: "api killed  " in text(pilot, "#newest"))


async def test_a_key_is_not_for_the_task_of_an_event_that_has_just_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cursor goes with the newest event, until it is moved."""
    monkeypatch.setattr(aim, "MOMENT", 60.0)
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("5")
        supervisor.happen("task_started", "web")
        await eventually(lambda: pilot.app.screen.targets() == ["web"])  # type: ignore[attr-defined]
        await pilot.press("r", "i")
        await eventually(lambda: sum("web has just been selected" in one for one in toasts(pilot)) == 2)
        assert not supervisor.requests("restart")
        await pilot.press("k")  # what a person selects is meant
        (chosen,) = pilot.app.screen.targets()  # type: ignore[attr-defined]
        assert chosen != "web"
        await pilot.press("r")
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": [chosen]}])
        await pilot.press("j")
        monkeypatch.setattr(aim, "MOMENT", 0.0)
        await pilot.press("r")
        await eventually(lambda: supervisor.requests("restart")[1:] == [{"tasks": ["web"]}])


@pytest.mark.parametrize(("typed", "key"), [([], "r"), (["colon", *"restart"], "enter")])
async def test_a_key_is_not_for_the_task_that_has_just_taken_the_place_of_another(
    typed: list[str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aim, "MOMENT", 60.0)
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("f")
        assert fleet(pilot).targets() == ["importer"]
        await pilot.press(*typed)
        supervisor.change("importer", state="running", running=True, ready=True, exit_code=0, signal=None)
        await eventually(lambda: fleet(pilot).targets() == ["web"])
        await pilot.press(key)
        await eventually(lambda: any("web has just been selected" in one for one in toasts(pilot)))
        assert not supervisor.requests("restart")


async def test_a_filter_is_seen_and_what_it_hides_is_not_called_nothing() -> None:
    async with running(shop()) as pilot:
        await pilot.press("5", "slash", *"zzz", "enter")
        await eventually(lambda: "No event matches zzz. Esc clears the filter" in text(pilot, "#events"))
        assert "events  /zzz " in text(pilot, "#header")
        await pilot.press("slash")
        await pilot.pause()
        assert pilot.app.screen.query_one("#prompt-line").value == "zzz"
        await pilot.press("escape", "escape")
        await eventually(lambda: "zzz" not in text(pilot))
        assert "stopped with 130" in text(pilot, "#events")
    async with running(Supervisor([])) as pilot:
        await pilot.press("5")
        await eventually(lambda: "Nothing has happened yet" in text(pilot, "#events"))


async def test_a_filter_is_tried_while_typed_and_undone_by_escape() -> None:
    async with running(shop()) as pilot:
        await pilot.press("5", "slash", *"db", "enter", "slash", *"zzz")
        await eventually(lambda: "No event matches zzz" in text(pilot, "#events"))
        await pilot.press("escape")
        await eventually(lambda: "db             healthy" in text(pilot, "#events"))
        assert "worker" not in text(pilot, "#events")
        assert "events  /db " in text(pilot, "#header")


async def test_long_names_that_begin_alike_are_told_apart_and_an_old_event_has_its_date() -> None:
    names = [f"service-of-the-platform-{number}" for number in range(2)]
    events = [event(number, "task_started", name) for number, name in enumerate(names, 1)]
    events[0]["ts"] = NOW - 3 * 86400
    async with running(Supervisor([task(name) for name in names], events=events)) as pilot:
        await pilot.press("5", "g")
        await eventually(lambda: "── event 1 · 2027-01-12 08:00:00 ──" in text(pilot, "#event-text"))
        assert all(f"form-{number} started" in text(pilot, "#events") for number in range(2))
        await pilot.press("j")
        await eventually(lambda: "── event 2 ──" in text(pilot, "#event-text"))


async def test_all_that_is_kept_is_loaded_and_nothing_is_said_to_be_missing() -> None:
    async with running(eventful(KEPT_EVENTS)) as pilot:
        await pilot.press("5", "g")
        await eventually(lambda: "── event 1 ──" in text(pilot, "#event-text"))
        assert EARLIER not in text(pilot)


async def test_earlier_events_than_those_are_said_to_be_elsewhere() -> None:
    supervisor = eventful(KEPT_EVENTS + 1)
    async with running(supervisor) as pilot:
        await pilot.press("5", "g")
        await eventually(lambda: "── event 2 ──" in text(pilot, "#event-text"))
        assert f"newest 1,000; {EARLIER}" in text(pilot, "#events").splitlines()[0]
    supervisor = eventful(KEPT_EVENTS)
    async with running(supervisor) as pilot:
        await pilot.press("5")
        supervisor.happen("task_started", "web")
        await eventually(lambda: EARLIER in text(pilot, "#events"))
