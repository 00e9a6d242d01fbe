"""A screen on which nothing happens costs next to nothing: the real program on a terminal of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cli.support import COMMAND, run
from tests.harness import Sandbox, wait_until
from tests.terminal import Screen
from tests.tui.pane import supervisors

FILE = '[tasks.hand]\ncommand = "exec sleep 1000"\nauto_start = false\n'
WINDOW = 1.5  # s


@pytest.mark.timeout(120)
def test_nothing_is_drawn_and_nobody_wakes_up(sandbox: Sandbox, folder: Path) -> None:
    """Also while the palette is open, and with animations forbidden."""
    (folder / "paneview.toml").write_text(FILE)
    run("start", cwd=folder)
    (supervisor,) = supervisors(sandbox)
    environ = {**os.environ, "TEXTUAL_ANIMATIONS": "none"}
    with Screen(COMMAND, folder, environ) as screen:
        screen.wait_for("○ idle")
        screen.press("\x10")
        screen.wait_for("Search for commands")
        _settle(screen)
        drawn = screen.frames
        # A busy machine wakes us a few times more, but not for ever; Textual's own input thread would be 15 a second.
        assert any(_wakeups(screen.pid, supervisor) <= 8 * WINDOW for _ in range(4))
        assert screen.frames == drawn
        screen.press("\x1b")  # an escape that is all there is, after the input thread has gone to sleep
        screen.wait_for("TASK")


def _settle(screen: Screen) -> None:
    """Wait until nothing is drawn for a while, and the input thread expects no rest of an escape."""

    def still() -> bool:
        before = screen.frames
        time.sleep(1.2)
        return before == screen.frames

    wait_until(still)


def _wakeups(*pids: int) -> int:
    """How often these processes are woken within ``WINDOW``; 0 where no kernel counts it."""
    before = sum(map(_woken, pids))
    time.sleep(WINDOW)
    return sum(map(_woken, pids)) - before


def _woken(pid: int) -> int:
    """How often a thread of this process has slept so far."""
    count = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        line = next(one for one in status.read_text().splitlines() if one.startswith("voluntary"))
        count += int(line.split()[1])
    return count
