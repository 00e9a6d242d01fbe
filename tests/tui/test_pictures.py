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
from tests.tui.scripted import Supervisor, task

MADE_BY = "8.2.8"
pytestmark = pytest.mark.skipif(
    textual.__version__ != MADE_BY, reason=f"the pictures are of Textual {MADE_BY}"
)

Compare = Callable[..., bool]


def hundreds() -> Supervisor:
    states = ["running", "running", "running", "failed", "waiting", "done", "stopped"]
    return Supervisor(
        [task(f"service-{n:03}", states[n * 7 % 11 % 7], group=f"group {n % 4}") for n in range(200)]
    )


def one() -> Supervisor:
    return Supervisor([task("web", health="healthy", port=8000)], logs={"web": ["listening on port 8000"]})


def gone() -> Supervisor:
    supervisor = shop()
    supervisor.leaves_at_once = True
    return supervisor


SCENES = {
    "shop-40x10": (shop, (40, 10), []),
    "shop-80x24": (shop, (80, 24), ["j"]),
    "shop-120x40": (shop, (120, 40), ["j", "j", "j", "j", "j", "tab"]),
    "shop-200x60": (shop, (200, 60), ["j", "j", "j", "j", "j"]),
    "one-80x24": (one, (80, 24), []),
    "none-80x24": (lambda: Supervisor([]), (80, 24), []),
    "hundreds-80x24": (hundreds, (80, 24), ["G"]),
    "small-38x9": (shop, (38, 9), []),
    "lost-80x24": (gone, (80, 24), []),
    "kill-80x24": (shop, (80, 24), ["j", "j", "j", "j", "K"]),
    "leave-40x10": (shop, (40, 10), ["q"]),
    "help-80x24": (shop, (80, 24), ["question_mark"]),
    "help-200x60": (shop, (200, 60), ["question_mark"]),
    "search-80x24": (shop, (80, 24), ["j", "j", "j", "j", "j", "tab", "slash", "5", "0", "0", "enter"]),
    "logs-200x60": (shop, (200, 60), ["j", "j", "j", "j", "j", "2", "T"]),
    "events-80x24": (shop, (80, 24), ["5"]),
    "filter-80x24": (shop, (80, 24), ["slash", "w", "e", "b"]),
}


async def ready(pilot: Pilot[int], keys: list[str], supervisor: Supervisor) -> None:
    await eventually(lambda: pilot.app.picture.link.phase == "connected")
    await settled(pilot)
    if getattr(supervisor, "leaves_at_once", False):
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
