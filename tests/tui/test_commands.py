"""What is typed or pasted after the colon, and what the system will not do for it: told, and never a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from paneview.control.errors import ControlError
from paneview.tui.widgets.rowfilter import RowFilter
from tests.harness import eventually
from tests.tui.running import running, text, toasts
from tests.tui.scenes import shop
from tests.tui.scripted import Supervisor, event, task


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is removed."""
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PWD", str(place))
    place.rmdir()
    return place


async def paste(pilot: Pilot[int], text: str) -> None:
    pilot.app.post_message(events.Paste(text))
    await pilot.pause()


async def do(pilot: Pilot[int], command: str) -> None:
    """As typed after the colon."""
    await pilot.press("colon")
    await paste(pilot, command)
    await pilot.press("enter")


async def told(pilot: Pilot[int], *parts: str) -> None:
    await eventually(lambda: any(all(part in toast for part in parts) for toast in toasts(pilot)))


async def test_an_export_from_a_folder_that_is_gone_says_which_one(nowhere: Path) -> None:
    async with running(shop()) as pilot:
        await do(pilot, "export")
        await told(pilot, f"export: the folder that paneview was started in is gone: {nowhere}", "--output")


@pytest.mark.parametrize("option", ["-o", "--output"])
async def test_an_export_from_there_to_a_file_that_is_named(nowhere: Path, option: str) -> None:
    """It is the command line that refuses it here: there is no such project."""
    async with running(shop()) as pilot:
        await do(pilot, f"export {option} {nowhere.parent}/out.jsonl")
        await told(pilot, "paneview.toml: no such file")


async def test_a_file_that_is_named_with_an_equals_sign_is_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paneview.toml").write_text('[tasks.web]\ncommand = "true"\n')
    supervisor = shop()
    async with running(supervisor) as pilot:
        pilot.app.picture.file = str(tmp_path / "paneview.toml")
        await do(pilot, "export --output=out.jsonl")
        await told(pilot, "exported to the file that was named")
    assert set(os.listdir(tmp_path)) == {"paneview.toml", "out.jsonl"}


async def test_what_is_too_long_for_the_system_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(shop()) as pilot:
        await do(pilot, f"export --since {'9' * 140_000}")
        await told(pilot, "export: Argument list too long")


async def test_what_is_told_of_a_long_paste_leaves_the_screen_to_be_seen() -> None:
    async with running(shop()) as pilot:
        await do(pilot, "z" * 20_000)
        await told(pilot, "no command :zzz", "…")
        assert len(toasts(pilot)[-1]) < 1000
        assert "importer" in text(pilot)


@pytest.mark.parametrize("digits", [13, 5000])
async def test_a_number_of_replicas_that_nobody_means_is_told(digits: int) -> None:
    supervisor = Supervisor([task("web.1"), task("web.2")])
    async with running(supervisor) as pilot:
        await do(pilot, f"scale web {'1' * digits}")
        await told(pilot, "scale TASK NUMBER, of at most 12 digits")
        assert not supervisor.requests("scale")


async def test_saving_a_log_in_a_folder_that_is_gone_says_which_one(nowhere: Path) -> None:
    async with running(shop()) as pilot:
        await pilot.press("tab", "S")
        await told(pilot, f"save: the folder that paneview was started in is gone: {nowhere}")


async def test_copying_where_tmux_is_not_to_be_found_goes_by_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    async with running(shop()) as pilot:
        monkeypatch.setenv("PATH", str(tmp_path))
        await pilot.press("tab", "y")
        await told(pilot, "copied by the terminal")


@pytest.mark.parametrize(
    "typed",
    ["", "a(b|c)", "[", f"a{{{'9' * 30}}}", f"a{{{'9' * 5000}}}", "(" * 3000],
    ids=["nothing", "expression", "wrong", "count", "digits", "tower"],
)
def test_what_filters_a_table_is_an_expression_or_else_the_text_itself(typed: str) -> None:
    rows = ["x AB" if typed == "a(b|c)" else f"x {typed} y", "another"]
    assert RowFilter(typed).choose(rows, lambda row: [row]) == (rows[:1] if typed else rows)


@pytest.mark.parametrize("screen", ["events", "queue", "workflows"])
async def test_a_filter_that_no_machine_can_take_is_taken_literally(screen: str) -> None:
    async with running(shop()) as pilot:
        await do(pilot, screen)
        await pilot.pause()
        await pilot.press("slash")
        await paste(pilot, f"a{{{'9' * 30}}}")
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.is_running


async def test_help_and_leaving_by_command() -> None:
    async with running(shop()) as pilot:
        await do(pilot, "help")
        await eventually(lambda: pilot.app.screen.query("#help"))
        shown = text(pilot, "#help")
        assert "Log in the whole screen" in shown
        assert "Earlier" not in shown  # a key of the command line
        await pilot.press("escape")
        await do(pilot, "q")
        await eventually(lambda: "Leave" in text(pilot, "#box"))


async def test_a_command_for_one_task_is_for_the_one_that_is_selected_on_this_screen() -> None:
    supervisor = Supervisor([task("api"), task("web")], events=[event(1, "task_started", "web")])
    supervisor.answers["definition"] = ControlError("no definition", "bad_request")
    async with running(supervisor) as pilot:
        assert pilot.app.selected == "api"
        await pilot.press("5", "colon", *"edit", "enter")
        await eventually(lambda: supervisor.requests("definition") == [{"task": "web"}])
