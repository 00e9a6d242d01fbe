"""Pictures of the queue's screens; see `test_pictures`."""

from __future__ import annotations

import pytest
import textual
from textual.pilot import Pilot

from tests.tui.queue_scenes import away, office
from tests.tui.running import app_for
from tests.tui.test_pictures import MADE_BY, Compare, ready

pytestmark = pytest.mark.skipif(
    textual.__version__ != MADE_BY, reason=f"the pictures are of Textual {MADE_BY}"
)


SCENES = {
    "queue-200x60": (office, (200, 60), ["3", "j", "j"]),
    "queue-away-80x24": (away, (80, 24), ["3"]),
    "job-80x24": (office, (80, 24), ["3", "f", "f", "f", "j", "enter"]),
}


@pytest.mark.parametrize("name", SCENES)
def test_screen(name: str, snap_compare: Compare) -> None:
    build, size, keys = SCENES[name]
    supervisor = build()

    async def before(pilot: Pilot[int]) -> None:
        await ready(pilot, keys, supervisor)

    assert snap_compare(app_for(supervisor), terminal_size=size, run_before=before)
