"""Toasts: that one whose time runs out as it is shown holds nothing up."""

from __future__ import annotations

import time

from textual.notifications import Notify
from textual.widgets._toast import Toast

from paneview.tui.toasts import LEAST, Passing
from tests.harness import eventually
from tests.tui.running import running
from tests.tui.scenes import shop


def test_there_is_always_some_time_left() -> None:
    over = Passing("gone", timeout=1.0, raised_at=time.time() - 1.0)
    assert over.has_expired
    assert over.time_left == LEAST
    fresh = Passing("here", timeout=60.0)
    assert not fresh.has_expired
    assert 59.0 < fresh.time_left <= 60.0


async def test_one_that_is_over_when_it_is_mounted_goes_away() -> None:
    class Late(Passing):
        """Not over when it is looked at, over in the next line."""

        has_expired = False  # type: ignore[assignment]  # a property so far: here the look comes too early

    async with running(shop()) as pilot:
        pilot.app.post_message(Notify(Late("too late", timeout=0.0)))
        pilot.app.notify("in time", timeout=30.0)
        await eventually(lambda: [note.message for note in pilot.app._notifications] == ["in time"])
        await pilot.press("j")


async def test_they_do_not_cover_the_screen() -> None:
    async with running(shop()) as pilot:
        for number in range(9):
            pilot.app.notify(f"toast {number}", timeout=30.0)
            pilot.app.notify("again", timeout=30.0)
        left = ["toast 6", "toast 7", "toast 8", "again"]
        await eventually(lambda: [note.message for note in pilot.app._notifications] == left)
        await eventually(
            lambda: [str(toast._notification.message) for toast in pilot.app.screen.query(Toast)] == left
        )
