"""Typing into a task, scaling, and what ends a process: the questions before it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from paneview.control.errors import ControlError
from paneview.tui.app import PaneviewApp
from paneview.tui.background import in_background
from paneview.tui.keys.tmuxnames import Stroke, requests, stroke
from paneview.tui.screens import dialogs
from paneview.tui.screens.typing import PaneView
from paneview.tui.tasks.editing import agreement, apply, difference, editor, in_editor
from tests.harness import eventually
from tests.tui.running import fleet, running, text, toasts
from tests.tui.scenes import shop
from tests.tui.scripted import Supervisor, task


@pytest.mark.parametrize(
    ("key", "character", "sent"),
    [
        ("a", "a", Stroke("a", True)),
        ("upper_a", "A", Stroke("A", True)),
        ("space", " ", Stroke(" ", True)),
        ("semicolon", ";", Stroke(";", True)),
        ("é", "é", Stroke("é", True)),
        ("enter", "\r", Stroke("Enter", False)),
        ("tab", "\t", Stroke("Tab", False)),
        ("backspace", "\x7f", Stroke("BSpace", False)),
        ("ctrl+c", "\x03", Stroke("C-c", False)),
        ("alt+left", None, Stroke("M-Left", False)),
        ("f5", None, Stroke("F5", False)),
        ("ctrl+shift+up", None, Stroke("C-S-Up", False)),
        ("hyper+x", None, None),
        ("scroll_lock", None, None),
    ],
)
def test_keys_as_tmux_names_them(key: str, character: str | None, sent: Stroke | None) -> None:
    assert stroke(key, character) == sent


def test_characters_in_a_row_go_together() -> None:
    typed = [
        Stroke("y", True),
        Stroke("e", True),
        Stroke("Enter", False),
        Stroke("Up", False),
        Stroke("q", True),
    ]
    assert list(requests(typed)) == [
        {"keys": ["ye"], "literal": True},
        {"keys": ["Enter", "Up"], "literal": False},
        {"keys": ["q"], "literal": True},
    ]


async def test_every_key_goes_to_the_task_until_the_one_that_ends_it() -> None:
    supervisor = shop()
    supervisor.answers["screen"] = {"lines": ["begun", "Sure? [y/N] "], "column": 12, "row": 1}
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j", "i")
        await eventually(lambda: "Sure? [y/N]" in text(pilot))
        assert "typing into db" in text(pilot)
        assert "ctrl+] ends typing" in text(pilot, "#hints")
        await pilot.press("q", "colon", "1", "escape", "ctrl+c", "enter")
        await eventually(lambda: sum(len(one["keys"]) for one in supervisor.requests("send_keys")) >= 4)
        sent = [(key, one["literal"]) for one in supervisor.requests("send_keys") for key in one["keys"]]
        joined = "".join(key if literal else f"<{key}>" for key, literal in sent)
        assert joined == "q:1<Escape><C-c><Enter>"
        await pilot.press("ctrl+right_square_bracket")
        await pilot.pause()
        assert fleet(pilot).is_current


async def test_in_a_terminal_that_was_too_small_keys_go_on_to_the_task() -> None:
    """Its pane is hidden meanwhile, and loses the focus: else an x that is typed would stop the task."""
    supervisor = shop()
    supervisor.answers["screen"] = {"lines": ["Sure? [y/N] "], "column": 12, "row": 0}
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j", "i")
        await eventually(lambda: "Sure? [y/N]" in text(pilot))
        await pilot.resize_terminal(30, 8)
        await eventually(lambda: "ctrl+] ends typing" in text(pilot, "#tiny"))
        await eventually(lambda: pilot.app.screen.focused is None)
        await pilot.press("x")
        pilot.app.post_message(events.Paste("K"))
        await pilot.resize_terminal(80, 24)
        await eventually(lambda: isinstance(pilot.app.screen.focused, PaneView))
        await pilot.press("q")
        await eventually(lambda: len(supervisor.requests("send_keys")) == 2)
        assert [one["keys"] for one in supervisor.requests("send_keys")] == [["x"], ["q"]]
        assert [one["text"] for one in supervisor.requests("paste")] == ["K"]
        assert not supervisor.requests("stop")


async def test_in_a_terminal_that_is_too_small_nothing_unseen_is_acted_on() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("5", "g")
        await pilot.resize_terminal(30, 8)
        await eventually(lambda: pilot.app.screen.focused is None)
        await pilot.press("r")
        await pilot.resize_terminal(80, 24)
        await eventually(lambda: getattr(pilot.app.screen.focused, "id", "") == "events")
        assert not supervisor.requests("restart")


async def test_what_is_typed_while_the_last_key_is_under_way_goes_too() -> None:
    supervisor = shop()
    supervisor.answers["screen"] = {"lines": ["Sure? "], "column": 6, "row": 0}
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j", "i")
        await eventually(lambda: "Sure?" in text(pilot))
        supervisor.delay = 0.05
        for name in ("y", "e", "s", "enter"):
            pilot.app.simulate_key(name)
        pilot.app.post_message(events.Paste("all\nof it"))
        pilot.app.simulate_key("q")
        await eventually(lambda: len(supervisor.requests("send_keys")) == 4)
        typed = [args for do, args in supervisor.asked if do in ("send_keys", "paste")]
        assert [args.get("keys") or args["text"] for args in typed] == [
            ["y"], ["es"], ["Enter"], "all\nof it", ["q"],
        ]  # fmt: skip


async def test_a_refusal_stays_until_something_else_is_typed() -> None:
    supervisor = shop()
    supervisor.answers["screen"] = {"lines": ["Sure? "], "column": 6, "row": 0}
    supervisor.answers["send_keys"] = ControlError("tmux is gone", "failed")
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j", "i", "y")
        await eventually(lambda: "tmux is gone; ctrl+] goes back" in text(pilot))
        before = len(supervisor.requests("screen"))
        pilot.app.screen.query_one(PaneView).look()
        await eventually(lambda: len(supervisor.requests("screen")) > before)
        await pilot.pause()
        assert "tmux is gone" in text(pilot)
        del supervisor.answers["send_keys"]
        await pilot.press("y")
        await eventually(lambda: "tmux is gone" not in text(pilot))


def cursor(pilot: Pilot[int]) -> tuple[int, int, str]:
    """Column, row, and what is under it."""
    pane = pilot.app.screen.query_one(PaneView)
    for y in range(1, pane.size.height):
        x = 0
        for segment in pane.render_line(y):
            if segment.style is not None and segment.style.reverse:
                return x, y, segment.text
            x += segment.cell_length
    raise AssertionError(f"no cursor\n{text(pilot)}")


async def test_what_is_typed_beyond_the_right_edge_is_seen_with_the_cursor() -> None:
    supervisor = shop()
    rows = ["".join(f"{n:<10}" for n in range(0, 100, 10)), "Name: " + "日本" * 17 + "x" * 30 + "END"]
    supervisor.answers["screen"] = {"lines": rows, "column": 4, "row": 1}
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j", "i")
        await eventually(lambda: "Name: 日本" in text(pilot))
        assert cursor(pilot) == (4, 2, ":")
        assert "columns 1-80" in text(pilot)
        for column, at, seen in (
            (79, (79, 2, "x"), "columns 1-80"),
            (80, (79, 2, "x"), "columns 2-81"),
            (106, (79, 2, "D"), "columns 28-107"),
            (107, (79, 2, " "), "columns 29-108"),
        ):
            supervisor.answers["screen"] = {"lines": rows, "column": column, "row": 1}
            pilot.app.screen.query_one(PaneView).look()
            await eventually(lambda at=at, seen=seen: cursor(pilot) == at and seen in text(pilot))
        beyond = [rows[0][28:].rstrip(), ("日本" * 17)[11:] + "x" * 30 + "END"]
        assert text(pilot, "#pane").splitlines()[1:3] == beyond
        supervisor.answers["screen"] = {"lines": ["$"], "column": 2, "row": 0}
        pilot.app.screen.query_one(PaneView).look()
        await eventually(lambda: "columns" not in text(pilot))


async def test_a_pane_that_cannot_be_had_is_told() -> None:
    supervisor = shop()
    supervisor.answers["screen"] = ControlError("db does not run", "failed")
    async with running(supervisor) as pilot:
        await pilot.press("i")
        await eventually(lambda: "importer does not run: s starts it" in toasts(pilot))
        await pilot.press("j", "j", "j", "j", "i")
        await eventually(lambda: "db does not run" in text(pilot))


async def test_stopping_what_others_need_asks_and_takes_them_along() -> None:
    supervisor = shop()
    async with running(supervisor, (100, 30)) as pilot:
        await pilot.press("j", "j", "j", "j", "x")
        await pilot.pause()
        shown = text(pilot, "#box")
        assert "Stop db?" in shown
        assert "Needed by api, web, still running." in shown
        assert "▌ n No" in shown
        assert "also stops api, web" in shown
        await pilot.press("escape")
        assert not supervisor.requests("stop")
        await pilot.press("x", "y")
        await eventually(lambda: supervisor.requests("stop") == [{"tasks": ["db", "api", "web"]}])
        await pilot.press("x", "o")
        await eventually(lambda: {"tasks": ["db"]} in supervisor.requests("stop"))


async def test_starting_many_asks_nothing() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("space", "space", "s")
        await eventually(lambda: supervisor.requests("start") == [{"tasks": ["importer", "web"]}])


async def test_more_and_fewer_replicas() -> None:
    supervisor = Supervisor([task("web.1"), task("web.2")])
    async with running(supervisor) as pilot:
        await pilot.press("plus")
        await eventually(lambda: supervisor.requests("scale") == [{"task": "web", "replicas": 3}])
        await eventually(lambda: "web: 3 replicas" in toasts(pilot))
        await pilot.press("minus")
        await pilot.pause()
        assert "Scale web to 1?" in text(pilot, "#box")
        assert "Stops web.2" in text(pilot, "#box")
        await pilot.press("y")
        await eventually(lambda: {"task": "web", "replicas": 1} in supervisor.requests("scale"))


async def test_the_replica_that_was_named_in_the_question_is_removed_or_none() -> None:
    supervisor = Supervisor([task("web.1"), task("web.2")])
    async with running(supervisor) as pilot:
        await pilot.press("minus")
        await eventually(lambda: "Stops web.2 and removes it." in text(pilot))
        supervisor.tasks |= {name: task(name) for name in ("web.3", "web.4")}
        supervisor.tell_all()
        await eventually(lambda: "web.4" in pilot.app.picture.tasks)
        await pilot.press("y")
        await eventually(lambda: any("has changed meanwhile" in one for one in toasts(pilot)))
        assert not supervisor.requests("scale")


async def test_scaling_what_cannot_be_scaled_is_told() -> None:
    supervisor = shop()
    supervisor.answers["scale"] = ControlError("'db' has no replicas in the file", "bad_request")
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j", "plus")
        await eventually(lambda: "scale db: 'db' has no replicas in the file" in toasts(pilot))


@pytest.mark.parametrize("width", [40, 80])
async def test_the_question_before_a_change_tells_the_whole_file_and_that_it_restarts(width: int) -> None:
    file = f"/home/ann/{'a-long-folder/' * 6}paneview.toml"
    async with running(shop(), (width, 24)) as pilot:
        await pilot.app.push_screen(agreement("web", file, "port = 1\n", "port = 2\n"))
        await eventually(lambda: "Change web?" in text(pilot, "#box"))
        lines = [line.strip() for line in text(pilot, "#box").splitlines()]
        assert f"Writes{file}" in "".join(lines).replace(" ", "")
        assert any("Yes, apply  restarts what" in line for line in lines)
        assert "+port = 2" in lines


@pytest.mark.parametrize("opens", [["colon"], ["q"], ["i"]])
async def test_a_refused_change_takes_no_keys_that_are_meant_for_something_else(
    opens: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs, "MOMENT", 60.0)
    supervisor = shop()
    supervisor.answers["define"] = ControlError("unknown key 'porrt'", "config")
    found = {"task": "web", "file": "/home/ann/paneview.toml", "text": "port = 1\n"}
    async with running(supervisor) as pilot:
        fleet(pilot).table.select("web")
        await pilot.press(*opens)
        open_before = [*pilot.app.screen_stack]
        in_background(pilot.app, apply, pilot.app, "web", found, "porrt = 2\n")
        await eventually(lambda: any("web: not applied" in toast for toast in toasts(pilot)))
        assert pilot.app.screen_stack == open_before
        await pilot.press("ctrl+right_square_bracket" if opens == ["i"] else "escape")
        await eventually(
            lambda: bool(pilot.app.screen.query("#box")) and "Not applied" in text(pilot, "#box")
        )
        await pilot.press("n", "escape")
        assert "Not applied" in text(pilot, "#box")
        monkeypatch.setattr(pilot.app.screen, "_deaf_until", 0.0)  # the moment is over
        await pilot.press("n")
        await eventually(lambda: not pilot.app.screen.query("#box"))


def test_the_difference_before_a_change() -> None:
    was = '[tasks.a]\ncommand = "x"\nport = 1\n'
    assert difference(was, was.replace('"x"', '"y"')) == [
        " [tasks.a]", '-command = "x"', '+command = "y"', " port = 1",
    ]  # fmt: skip


async def test_a_text_that_cannot_be_written_for_the_editor_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    async with running(shop()) as pilot:
        assert isinstance(pilot.app, PaneviewApp)
        assert await in_editor(pilot.app, "web.toml", "port = 3\n") is None
        await eventually(lambda: any("web.toml: no file to edit" in toast for toast in toasts(pilot)))


def test_the_editor_is_the_users_own_else_vi() -> None:
    assert editor({"EDITOR": "code --wait", "VISUAL": ""}) == ["code", "--wait"]
    assert editor({}) == ["vi"]
