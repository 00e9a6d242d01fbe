"""Take the pictures of this folder: ``python screenshots/make.py [NAME…]``.

The real program is shown: a real supervisor in a tmux server of its own runs ``sample.toml``, and the screen connects
to it as it always does, only that it draws into a picture instead of a terminal. Each picture is an SVG by Textual,
made a PNG by Debian's ``chromium-headless-shell`` with ``fonts-firacode``. Nothing of the person who runs this is
touched.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from textual.pilot import Pilot

from paneview.config import paths
from paneview.control.client import ControlClient
from paneview.tui.app import PaneviewApp
from paneview.tui.screens.fleet import FleetScreen

HERE = Path(__file__).parent
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
PATIENCE = 60.0
# What the agent is told that is seen at work.
WORKING = """\
demo@work: say I look at what is there.
demo@work: tool Read index.html
demo@work: tool Bash grep -n title *.html
demo@work: say The titles are bare words. I greet people by the time of day.
demo@work: write index.html <h1>Good morning</h1>
demo@work: say Now it writes the page.
demo@work: sleep 600"""


class Picture(NamedTuple):
    """One picture: its terminal, the selected task, what is typed, and what must be on the screen by then."""

    size: tuple[int, int]
    task: str
    keys: tuple[str, ...] = ()
    wait: str = ""
    theme: str = "dark"
    settle: float = 1.0
    """Seconds to look on before the first key; curves and counts need some."""
    agents: bool = False
    """Agents are asked for something before it."""


PICTURES = {
    "fleet": Picture((118, 34), "chatter", wait="chatter ● running", settle=12.0),
    "fleet-80x24": Picture((80, 24), "store", wait="store ● healthy"),
    "fleet-200x60": Picture((200, 60), "chatter", wait="chatter ● running", settle=25.0),
    "fleet-light": Picture((118, 34), "chatter", wait="chatter ● running", theme="light"),
    "search": Picture((118, 34), "chatter", ("2", "slash", *"error", "enter", "n"), " of "),
    "input": Picture((118, 34), "publish", ("n",), "needs input"),
    "typing": Picture((80, 24), "publish", ("i", "y"), "typing into publish"),
    "logs": Picture((118, 34), "chatter", ("2", "T"), "following"),
    "merged": Picture((118, 34), "worker.1", ("space", "space", "equals_sign"), " + "),
    "tiles": Picture((200, 60), "worker.1", ("asterisk", "equals_sign", "equals_sign"), "── publish"),
    "queue": Picture((118, 34), "agents", ("3",), "prompt"),
    "queue-200x60": Picture((200, 60), "agents", ("3",), "prompt"),
    "dispatch": Picture((80, 24), "agents", ("3", "d", *"role:w"), "role:worker"),
    "workflows": Picture((118, 34), "agents", ("4",), "default"),
    "workflow": Picture((200, 60), "agents", ("4", "enter"), "plan "),
    "ask": Picture((118, 34), "agents", ("a", *"Write the page about cats"), "cats"),
    "graph": Picture((80, 24), "web", ("6",), "worker.1"),
    "graph-200x60": Picture((200, 60), "web", ("6",), "worker.1"),
    "stop": Picture((80, 24), "store", ("x",), "also stops"),
    "why": Picture((80, 24), "flaky", ("w",), "Why?"),
    "kill": Picture((80, 24), "store", ("K",), "Kill store?"),
    "stop-many": Picture((118, 34), "store", ("asterisk", "x"), "tasks?"),
    "small": Picture((40, 12), "web", wait="web"),
    "few-colours": Picture((80, 24), "store", wait="store ● healthy", theme="ansi"),
    "leave": Picture((80, 24), "web", ("q",), "Leave sample?"),
    "help": Picture((118, 40), "web", ("question_mark",), "Keys"),
    "palette": Picture((80, 24), "web", ("ctrl+p", *"restart", "space", *"work"), "worker.2"),
    "workflows-80x24": Picture((80, 24), "web", ("4",), "Greet", agents=True),
    "workflows-200x60": Picture((200, 60), "web", ("4", "j"), "writes the page", agents=True),
    "transcript": Picture(
        (118, 34),
        "web",
        ("4", "j", "enter"),
        "writes the page",
        agents=True,
    ),
    "ask-80x24": Picture(
        (80, 24),
        "web",
        ("a", *"Make the start page friendlier", "ctrl+j", *"See @sam", "tab"),
        "enter begins",
        agents=True,
    ),
    "ask-200x60": Picture((200, 60), "web", ("a", *"Look at @sam"), "tab sample.toml", agents=True),
    "events": Picture((118, 34), "web", ("5",), "event "),
}


def main() -> int:
    """Make all pictures, or those named."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print(f"no browser found to draw with: install {BROWSERS[0]} and fonts-firacode", file=sys.stderr)
        return 1
    wanted = sys.argv[1:] or list(PICTURES)
    with tempfile.TemporaryDirectory(prefix="paneview-pictures-") as folder:
        place = Path(folder)
        web, store = free_ports(2)
        os.environ.update(
            SAMPLE_WEB_PORT=web,
            SAMPLE_STORE_PORT=store,
            HOME=folder,
            PANEVIEW_HOME=str(place / "state"),
            PANEVIEW_TMUX_SOCKET=str(place / "tmux.sock"),
        )
        for name in ("TMUX", "TMUX_PANE", "NO_COLOR"):
            os.environ.pop(name, None)
        file = shutil.copy(HERE.parent / "sample.toml", place / "sample.toml")
        try:
            paneview(place, "start")
            paneview(place, "start", "load", "publish")
            for text in ("Review the last change", "Name three pages that are missing"):
                paneview(place, "submit", text, "--role", "worker")
            paneview(place, "ask", "Add a page about cats", "--no-wait")
            until(lambda: flaky_restarts(place) > 0, "a crash of flaky")
            if any(PICTURES[name].agents for name in wanted):
                employ(place)
            for name in wanted:
                asyncio.run(take(name, PICTURES[name], Path(file), place))
                draw(browser, place / f"{name}.svg", HERE / f"{name}.png")
                print(HERE / f"{name}.png")
        finally:
            paneview(place, "down")
    return 0


def paneview(place: Path, *words: str) -> str:
    """Run a command of ours; its standard output."""
    command = [sys.executable, "-P", "-m", "paneview", *words, "--file", str(place / "sample.toml")]
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout


def employ(place: Path) -> None:
    """Have the demo agent do several things: one is done, one failed, one works, one waits for a person."""
    asked = {
        "Look after the store\ndemo@plan: fail error the store does not answer": "careful",
        "Greet everybody\ndemo: cost 0.12": "careful",
        "Write a page about the shop\ndemo@work: cost none\ndemo@work: write shop.html <h1>shop</h1>": "default",
        f"Make the start page friendlier\n{WORKING}": "default",
    }
    ids = [
        paneview(place, "ask", "--no-wait", "--workflow", name, text).strip() for text, name in asked.items()
    ]
    wanted = ["failed", "waiting", "done", "running"]
    until(lambda: [flow(place, name)["status"] for name in ids] == wanted, "the workflows")
    until(lambda: flow(place, ids[-1])["phases"][2]["status"] == "running", "an agent at work")


def flow(place: Path, name: str) -> dict[str, Any]:
    """A workflow, as it is now."""
    found: dict[str, Any] = json.loads(paneview(place, "workflow-status", name, "--json"))["workflow"]
    return found


def free_ports(count: int) -> list[str]:
    """Ports that nobody listens on, so that another sample project on this machine is not in the way."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]


def flaky_restarts(place: Path) -> int:
    """How often `flaky` has been brought back."""
    tasks = json.loads(paneview(place, "status", "--json"))["tasks"]
    return int(next(task["restarts"] for task in tasks if task["name"] == "flaky"))


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE:g} s for {what}")
        time.sleep(0.2)


async def take(name: str, picture: Picture, file: Path, place: Path) -> None:
    """Show the project, type the keys, and write the SVG."""
    os.environ["PANEVIEW_THEME"] = picture.theme
    folder = paths.find_project_dir(file)
    assert folder is not None
    path = paths.control_socket(folder)

    def make(push: Callable[[dict[str, Any]], None], cut: Callable[[str], None]) -> ControlClient:
        return ControlClient(path, name="ann", on_push=push, on_disconnect=cut)

    app = PaneviewApp(make, paths.state_home())
    async with app.run_test(size=picture.size, notifications=True) as pilot:
        await appears(pilot, "chatter")
        await pilot.pause(picture.settle)
        fleet = app.screen
        assert isinstance(fleet, FleetScreen)
        fleet.table.select(picture.task)
        await pilot.pause(0.5)
        for key in picture.keys:
            await pilot.press(key)
            await pilot.pause(0.15)
        await appears(pilot, picture.wait)
        await pilot.pause(0.5)
        (place / f"{name}.svg").write_text(app.export_screenshot(title="paneview"))


async def appears(pilot: Pilot[int], text: str) -> None:
    """Wait until the text is on the screen."""
    end = time.monotonic() + PATIENCE
    while text not in "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE:g} s for {text!r} on the screen")
        await pilot.pause(0.1)


def draw(browser: str, svg: Path, png: Path) -> None:
    """The SVG as a PNG of its size."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text())
    assert found is not None
    width, height = (int(float(size)) + 1 for size in found.groups())
    options = ["--no-sandbox", "--hide-scrollbars", "--default-background-color=00000000"]
    subprocess.run(
        [browser, *options, f"--screenshot={png}", f"--window-size={width},{height}", svg.as_uri()],
        check=True,
        capture_output=True,
    )


if __name__ == "__main__":
    sys.exit(main())
