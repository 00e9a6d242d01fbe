"""What Textual's timers do on a machine that is held up."""

from __future__ import annotations

import itertools
import sys

import pytest
from textual import _time

from paneview.tui.widgets.header import Header
from tests.harness import eventually
from tests.tui.running import running
from tests.tui.scenes import shop


async def test_a_new_size_is_taken_though_the_program_is_held_up_just_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, late = _time.get_time, itertools.count(1)

    def held_up() -> float:
        """For a timer with a single turn a second has passed whenever it looks."""
        timer = sys._getframe(1).f_locals.get("self")
        return clock() + (next(late) if getattr(timer, "_repeat", None) == 0 else 0)

    async with running(shop()) as pilot:
        monkeypatch.setattr(_time, "get_time", held_up)
        await pilot.resize_terminal(120, 40)
        await eventually(lambda: pilot.app.screen.query_one(Header).size.width == 120, 5.0)
    assert next(late) > 2
