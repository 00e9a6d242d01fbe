"""Pictures of the screens, compared with those of last time (``pytest --snapshot-update`` takes new ones).

Another version of Textual may draw the same screen by other escapes, so pictures are only compared under the version
that made them; what the screens say is tested without pictures too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import textual
from textual.pilot import Pilot

from tests.harness import eventually
from tests.tui.running import app_for, settled
from tests.tui.scenes import shop
from tests.tui.scripted import Supervisor

MADE_BY = "8.2.8"
pytestmark = pytest.mark.skipif(
    textual.__version__ != MADE_BY, reason=f"the pictures are of Textual {MADE_BY}"
)

Compare = Callable[..., bool]


SCENES = {
    "shop-80x24": (shop, (80, 24), ["j"]),
    "shop-200x60": (shop, (200, 60), ["j", "j", "j", "j", "j"]),
    "small-38x9": (shop, (38, 9), []),
    "kill-80x24": (shop, (80, 24), ["j", "j", "j", "j", "K"]),
    "help-80x24": (shop, (80, 24), ["question_mark"]),
    "search-80x24": (shop, (80, 24), ["j", "j", "j", "j", "j", "tab", "slash", "5", "0", "0", "enter"]),
    "logs-200x60": (shop, (200, 60), ["j", "j", "j", "j", "j", "2", "T"]),
}


async def ready(pilot: Pilot[int], keys: list[str], supervisor: Supervisor) -> None:
    await eventually(lambda: pilot.app.picture.link.phase == "connected")
    await settled(pilot)
    if supervisor.leaves_at_once:
        supervisor.go("the supervisor ended")
    for key in keys:
        await pilot.press(key)
        await settled(pilot)
    await pilot.pause(0.2)
    await settled(pilot)


@pytest.mark.parametrize("name", SCENES)
def test_screen(name: str, snap_compare: Compare) -> None:
    build, size, keys = SCENES[name]
    supervisor = build()

    async def before(pilot: Pilot[int]) -> None:
        await ready(pilot, keys, supervisor)

    assert snap_compare(app_for(supervisor), terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", ["light", "ansi"])
def test_theme(theme: str, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANEVIEW_THEME", theme)
    supervisor = shop()

    async def before(pilot: Pilot[int]) -> None:
        await ready(pilot, ["j"], supervisor)

    assert snap_compare(app_for(supervisor), terminal_size=(80, 24), run_before=before)
