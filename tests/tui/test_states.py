"""Every screen and state at four sizes, as text, compared with last time (``pytest --snapshot-update`` takes new ones).

Colours are in the pictures of `test_pictures`; here it is what stands where, which any version of Textual draws alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from textual import events
from textual.pilot import Pilot

from tests.harness import eventually
from tests.tui.flow_scenes import FlowSupervisor, paused, team
from tests.tui.queue_scenes import away, no_queue, office
from tests.tui.running import running, settled, text
from tests.tui.scenes import gone, hundreds, one, shop
from tests.tui.scripted import Supervisor, task

SIZES = ((40, 10), (80, 24), (120, 40), (200, 60))
FOLDER = Path(__file__).parent / "states"
PATIENCE = 5.0  # seconds


class Pasted(str):
    """A text that comes in one go, where a search or a drawing for each of its letters would show no more."""

    __slots__ = ()


class State(NamedTuple):
    """A project, what is typed (or `Pasted` in one go), and what is on the screen by then."""

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
        [
            task("reviewer.1", "failed", exit_code=1, restarts=5, reason=reason, quarantined=True),
            task("reviewer.2"),
        ],
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
    "workflow-diff": State(team, ("4", "enter", "D"), "item.price * item.count"),
    "workflow-cancel": State(team, ("4", "j", "j", "c"), "Ends plan"),
    "workflow-reject": State(team, ("4", "X"), "why work is rejected"),
    "ask": State(team, ("a", Pasted("Fix it\nand tell")), "enter begins default"),
    "command": State(shop, ("colon", "r", "e", "s"), ":"),
    "palette": State(shop, ("ctrl+p", Pasted("restart wor")), "restart worker"),
    "queue": State(office, ("3",), "QUEUED"),
    "queue-empty": State(no_queue, ("3",), "No jobs yet"),
    "queue-away": State(away, ("3",), "does not answer"),
    "cancel": State(office, ("3", "j", "c"), "Cancel"),
    "job": State(office, ("3", "f", "f", "f", "j", "enter"), "not logged in"),
    "dispatch": State(office, ("3", "d"), "role:"),
}


@pytest.mark.parametrize("name", STATES)
async def test_state(name: str, request: pytest.FixtureRequest) -> None:
    file, update = FOLDER / f"{name}.txt", request.config.option.update_snapshots
    known = {} if update else _read(file)
    shown: dict[str, str] = {}
    while len(shown) < len(SIZES):
        await _look(STATES[name], SIZES[len(shown) :], known, shown)
    if update:
        file.write_text("\n".join(f"{size}\n{part}\n" for size, part in shown.items()))
    assert any(STATES[name].shows in part for part in shown.values())
    assert shown == _read(file)


async def _look(
    state: State, sizes: tuple[tuple[int, int], ...], known: dict[str, str], shown: dict[str, str]
) -> None:
    """Go to the state, and note what is on the screen at each size; only at the first if a dialog was open before.

    What lies behind a dialog is not drawn anew by Textual, so that it would depend on the moment: one that the last
    key opens is closed for each size and opened again.
    """
    supervisor = state.project()
    async with running(supervisor) as pilot:
        if supervisor.leaves_at_once:
            supervisor.go("the supervisor ended")
        await _type(pilot, state.keys[:-1])
        last = state.keys[-1:]
        opens = not pilot.app.screen.is_modal
        await pilot.resize_terminal(*sizes[0])
        await _still(pilot, supervisor)
        await _type(pilot, last)
        for width, height in sizes:
            size = f"{width}x{height}"
            if (width, height) != sizes[0] and pilot.app.screen.is_modal:
                await pilot.press("escape")
                await pilot.resize_terminal(width, height)
                await _still(pilot, supervisor)
                await _type(pilot, last)
            await pilot.resize_terminal(width, height)
            if size in known:
                with suppress(AssertionError):  # told below, with the difference
                    await eventually(
                        partial(lambda wanted: text(pilot) == wanted, known[size]), PATIENCE, 0.02
                    )
            else:
                await _still(pilot, supervisor)
            shown[size] = text(pilot)
            if pilot.app.screen.is_modal and not opens:
                return


async def _type(pilot: Pilot[int], keys: tuple[str, ...]) -> None:
    for key in keys:
        if isinstance(key, Pasted):
            pilot.app.post_message(events.Paste(key))
            await pilot.pause()
        else:
            await pilot.press(key)


def _read(file: Path) -> dict[str, str]:
    """What was on the screen, by its size."""
    parts = re.split(r"^(\d+x\d+)\n", file.read_text() + "\n", flags=re.MULTILINE)[1:]
    return {size: part.removesuffix("\n\n") for size, part in zip(parts[::2], parts[1::2], strict=True)}


async def _still(pilot: Pilot[int], supervisor: Supervisor) -> None:
    """Nothing moves any more, and nothing more is asked for."""
    if not pilot.app.screen.is_modal:
        await settled(pilot)
    seen: tuple[int, str] | None = None
    while seen != (seen := (len(supervisor.asked), text(pilot))):
        await pilot.pause(0.15)
