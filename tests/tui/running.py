"""A screen without terminal, driven by keys, against a scripted supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.notifications import Notification
from textual.pilot import Pilot

from paneview.config import paths
from paneview.tui.app import PaneviewApp
from paneview.tui.logs.view import LogView
from paneview.tui.screens.fleet import FleetScreen
from paneview.tui.toasts import Few
from tests.harness import eventually
from tests.tui.scripted import NOW, Supervisor


class Told(Few):
    """Toasts, and what each has said: they pass in seconds, and a busy machine looks later."""

    def __init__(self, height: Callable[[], int]) -> None:
        super().__init__(height)
        self.all: list[str] = []

    def add(self, notification: Notification) -> Told:
        self.all.append(notification.message)
        super().add(notification)
        return self


def app_for(supervisor: Supervisor, **more: Any) -> PaneviewApp:
    app = PaneviewApp(supervisor.make, paths.state_home(), clock=lambda: NOW, **more)
    app._notifications = Told(lambda: app.size.height)
    return app


@asynccontextmanager
async def running(supervisor: Supervisor, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[int]]:
    app = app_for(supervisor)
    async with app.run_test(size=size, notifications=True) as pilot:
        await eventually(lambda: app.picture.link.phase == "connected")
        await settled(pilot)
        try:
            yield pilot
        finally:
            app._exit = True  # as when a person leaves: what is only being opened then misses its parts


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
    """All that toasts have said."""
    told = pilot.app._notifications
    assert isinstance(told, Told)
    return told.all
