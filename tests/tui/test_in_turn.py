"""Whatever opens with a key and is typed into: it gets all that is typed behind that key, and in order."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from textual import events
from textual.app import App
from textual.widgets import Input

from paneview.tui.ask.text import AskText
from paneview.tui.keys import inturn
from tests.harness import eventually
from tests.tui.flow_scenes import team
from tests.tui.running import fleet, running, toasts
from tests.tui.scenes import shop

TYPED = ("x", "backspace", "x", "y", "left", "backspace", "z")
OPENS = ("a", "d", "slash", "colon", "ctrl+p")


def written(app: App[int]) -> str | None:
    """What is in the line or text that has the focus."""
    match app.screen.focused:
        case AskText() as text:
            return text.text
        case Input() as line:
            return line.value
    return None


@pytest.mark.parametrize("opening", OPENS)
async def test_nothing_overtakes_what_was_typed_before(opening: str) -> None:
    """However far that is on its way when the next key comes: so many turns of the event loop are between two."""
    async with running(team()) as pilot:
        app = pilot.app
        screen = app.screen
        for turns in (0, 2, 8, 34):
            for name in (opening, *TYPED):
                app.simulate_key(name)
                for _ in range(turns):
                    await asyncio.sleep(0)
            await eventually(lambda: written(app) == "zy")
            await pilot.press("end", "backspace", "backspace", "escape")  # no draft is left
            await eventually(lambda: app.screen is screen and written(app) is None)


async def test_what_follows_enter_in_the_prompt_is_for_the_screen_and_may_open_the_next_prompt() -> None:
    """A key that was lost there made commands of the text behind it: with "/wo⏎/xx⏎", xx stopped a task twice."""
    for turns in (0, 2, 8, 34):
        supervisor = shop()
        async with running(supervisor) as pilot:
            table = fleet(pilot).table
            for name in ("slash", "w", "o", "enter", "slash", "x", "x", "enter", *"/db", "enter", "r"):
                pilot.app.simulate_key({"/": "slash"}.get(name, name))
                for _ in range(turns):
                    await asyncio.sleep(0)
            await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["db"]}])  # noqa: B023
            assert not supervisor.requests("stop")
            assert (table.filter.text, pilot.app.histories["/"]) == ("db", ["wo", "xx", "db"])


async def test_a_paste_keeps_its_place() -> None:
    async with running(team()) as pilot:
        app = pilot.app
        app.simulate_key("slash")
        app.post_message(events.Paste("b"))
        app.simulate_key("c")
        await eventually(lambda: written(app) == "bc")


async def test_a_key_that_goes_down_with_its_widget_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(team()) as pilot:
        app = pilot.app
        monkeypatch.setattr(inturn.InTurn, "_follow", lambda *_: None)  # nothing comes back
        for name in ("slash", "b", "c"):
            app.simulate_key(name)
        await eventually(lambda: written(app) == "bc")


async def test_a_terminal_that_loses_the_focus_or_is_too_small_for_a_while_keeps_its_prompt() -> None:
    """Else the rest of what is typed into it would be commands."""
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("slash", "w", "o")
        pilot.app.post_message(events.AppBlur())
        await eventually(lambda: pilot.app.screen.focused is None)
        await pilot.pause()
        pilot.app.post_message(events.AppFocus())
        await pilot.press("x")
        await eventually(lambda: written(pilot.app) == "wox")
        await pilot.resize_terminal(30, 8)
        await eventually(lambda: pilot.app.screen.focused is None)
        await pilot.pause()
        await pilot.resize_terminal(80, 24)
        await eventually(lambda: pilot.app.screen.focused is not None)
        await pilot.press("x")
        await eventually(lambda: written(pilot.app) == "woxx")
        assert not supervisor.requests("stop")


async def test_what_was_opened_and_closed_is_let_go() -> None:
    async with running(team()) as pilot:
        opened = []
        for _ in range(4):
            await pilot.press("slash", "w", "backspace")
            opened.append(weakref.ref(pilot.app.screen.focused))  # type: ignore[arg-type]
            await pilot.press("escape", "a", "w", "backspace", "escape")
        await pilot.pause(0.1)
        gc.collect()
        assert sum(one() is not None for one in opened) <= 1  # timers may still know of the last one
        # A form is known to timers for some seconds, but to nothing that stays.
        assert not [one for one, _ in getattr(pilot.app, "__watchers")["theme"] if isinstance(one, AskText)]


@pytest.mark.parametrize(("key", "instead"), [("slash", ""), ("a", "; @ names a file instead")])
async def test_a_paste_that_would_stop_the_screen_is_refused_as_a_whole(key: str, instead: str) -> None:
    async with running(team()) as pilot:
        await pilot.press(key)
        pilot.app.post_message(events.Paste("x" * 400_001))
        told = "400,001 characters are too many to paste here: at most "
        await eventually(lambda: any(one.startswith(told) and one.endswith(instead) for one in toasts(pilot)))
        pilot.app.post_message(events.Paste("y"))
        await eventually(lambda: written(pilot.app) == "y")
