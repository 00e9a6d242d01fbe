"""A screen without terminal, driven by keys, against a scripted supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from paneview.config import paths
from paneview.tui.app import PaneviewApp
from paneview.tui.logs.view import LogView
from paneview.tui.screens.fleet import FleetScreen
from tests.harness import eventually
from tests.tui.scripted import NOW, Supervisor


def app_for(supervisor: Supervisor) -> PaneviewApp:
    return PaneviewApp(supervisor.make, paths.state_home(), clock=lambda: NOW)


@asynccontextmanager
async def running(supervisor: Supervisor, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[int]]:
    app = app_for(supervisor)
    async with app.run_test(size=size, notifications=True) as pilot:
        await eventually(lambda: app.picture.link.phase == "connected")
        await settled(pilot)
        yield pilot


async def settled(pilot: Pilot[int]) -> None:
    """All lines that the log's window shows are here, and everything is drawn."""

    def quiet() -> bool:
        views = pilot.app.screen.query(LogView)
        return all(
            view.state is None
            or not view.size.height
            or bool(view.state.feed.error)
            or (
                view.state.feed.known
                and not view.state.feed.busy
                and view.state.feed.head == view.state.feed.end
            )
            for view in views
        )

    await pilot.pause()
    await eventually(quiet)
    await pilot.pause(0.05)


def fleet(pilot: Pilot[int]) -> FleetScreen:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, FleetScreen)
    return screen


def text(pilot: Pilot[int], selector: str | None = None) -> str:
    """What is on the screen, or in one widget, as plain text."""
    if selector is None:
        lines = [strip.text for strip in pilot.app.screen._compositor.render_strips()]
    else:
        widget = pilot.app.screen.query_one(selector)
        lines = [widget.render_line(y).text for y in range(widget.size.height)]
    return "\n".join(line.rstrip() for line in lines)


def toasts(pilot: Pilot[int]) -> list[str]:
    return [note.message for note in pilot.app._notifications]
