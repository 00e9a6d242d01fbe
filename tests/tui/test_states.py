"""Every screen and state at four sizes, as text, compared with last time (``pytest --snapshot-update`` takes new ones).

Colours are in the pictures of `test_pictures`; here it is what stands where, which any version of Textual draws alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from textual.pilot import Pilot

from paneview.tui.screens.dialogs import Dialog
from tests.harness import eventually
from tests.tui.flow_scenes import FlowSupervisor, paused, team
from tests.tui.queue_scenes import away, no_queue, office
from tests.tui.running import running, settled, text
from tests.tui.scenes import gone, hundreds, one, shop
from tests.tui.scripted import Supervisor, task

SIZES = ((40, 10), (80, 24), (120, 40), (200, 60))
FOLDER = Path(__file__).parent / "states"


class State(NamedTuple):
    """A project, what is typed, and what is on the screen by then."""

    project: Callable[[], Supervisor]
    keys: tuple[str, ...] = ()
    shows: str = ""


def asking() -> Supervisor:
    supervisor = shop()
    question = "Overwrite? [y/N]"
    supervisor.tasks["api"] |= {"needs_input": question, "reason": f"waits for an answer: {question}"}
    supervisor.answers["screen"] = {"lines": ["begun", f"{question} "], "column": 17, "row": 1}
    return supervisor


def quarantined() -> Supervisor:
    reason = "quarantined after 5 respawns in 300 s: exit code 1"
    return Supervisor(
        [task("reviewer.1", "failed", exit_code=1, restarts=5, reason=reason), task("reviewer.2")],
        logs={"reviewer.1": ["Traceback (most recent call last):", "ImportError: no module named review"]},
    )


STATES = {
    "empty": State(lambda: Supervisor([]), shows="No tasks yet"),
    "one": State(one, shows="web"),
    "hundreds": State(hundreds, ("G",), "service-"),
    "failing": State(shop, ("f",), "only failing"),
    "quarantined": State(quarantined, shows="reviewer.1"),
    "needs-input": State(asking, shows="needs input"),
    "typing": State(asking, ("i",), "typing into api"),
    "disconnected": State(gone, shows="disconnected"),
    "logs": State(shop, ("j", "2"), "refused"),
    "merged": State(shop, ("j", "space", "j", "j", "j", "space", "equals_sign"), "web + api"),
    "events": State(shop, ("5",), "gave up restarting"),
    "graph": State(shop, ("6",), "mailer"),
    "stop": State(shop, ("G", "k", "k", "k", "k", "x"), "Stop"),
    "kill": State(shop, ("K",), "Kill importer?"),
    "leave": State(shop, ("q",), "Leave shop?"),
    "why": State(shop, ("j", "w"), "Why?"),
    "help": State(shop, ("question_mark",), "Keys"),
    "workflows": State(team, ("4",), "✓✓◆○"),
    "workflows-paused": State(paused, ("4",), "claude is paused"),
    "workflows-empty": State(lambda: FlowSupervisor([]), ("4",), "No workflows yet"),
    "workflow-waits": State(team, ("4", "enter"), "14 of 18 lines"),
    "workflow-runs": State(team, ("4", "j", "j", "enter"), "leaves out the counts"),
    "workflow-diff": State(team, ("4", "enter", "D"), "2 lines in 1 file"),
    "workflow-cancel": State(team, ("4", "j", "j", "c"), "Ends plan"),
    "workflow-reject": State(team, ("4", "X"), "why work is rejected"),
    "ask": State(team, ("a", *"Fix it", "ctrl+j", *"and tell"), "enter begins default"),
    "command": State(shop, ("colon", "r", "e", "s"), ":"),
    "palette": State(shop, ("ctrl+p", *"restart wor"), "restart worker"),
    "queue": State(office, ("3",), "WAITING"),
    "queue-empty": State(no_queue, ("3",), "No jobs yet"),
    "queue-away": State(away, ("3",), "does not answer"),
    "cancel": State(office, ("3", "j", "c"), "Cancel"),
    "job": State(office, ("3", "f", "f", "f", "j", "enter"), "not logged in"),
    "dispatch": State(office, ("3", "d"), "role:"),
}


@pytest.mark.parametrize("name", STATES)
async def test_state(name: str, request: pytest.FixtureRequest) -> None:
    state, shown = STATES[name], []
    supervisor = state.project()
    async with running(supervisor) as pilot:
        if supervisor.leaves_at_once:
            supervisor.go("the supervisor ended")
        await pilot.press(*state.keys)
        await eventually(lambda: state.shows in text(pilot))
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            await _still(pilot)
            shown.append(f"{width}x{height}\n{text(pilot)}\n")
    _compare(FOLDER / f"{name}.txt", "\n".join(shown), update=request.config.option.update_snapshots)


async def _still(pilot: Pilot[int]) -> None:
    """Nothing moves any more."""
    if not isinstance(pilot.app.screen, Dialog):
        await settled(pilot)
    before = ""
    while before != (before := text(pilot)):
        await pilot.pause(0.04)


def _compare(file: Path, shown: str, *, update: bool) -> None:
    if update:
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown)
    assert file.read_text() == shown
