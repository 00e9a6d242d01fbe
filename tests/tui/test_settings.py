"""The user's own themes and keys, and what is told about mistakes in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paneview.config import paths
from paneview.tui.app import PaneviewApp
from paneview.tui.settings import load_settings, settings_file
from tests.harness import eventually
from tests.tui.running import app_for, fleet, settled, text, toasts
from tests.tui.scenes import shop
from tests.tui.scripted import NOW

GOOD = """\
theme = "mine"

[themes.mine]
base = "light"
failed = "#123456"
select = "#abc"

[keys]
"task.stop" = "X"
"task.kill" = ["ctrl+k", "K"]
table.filter = "?"
help = "f1"
"""


def test_where_the_file_is() -> None:
    assert settings_file({"XDG_CONFIG_HOME": "/x"}) == Path("/x/paneview/tui.toml")
    assert settings_file({"HOME": "/home/ann"}) == Path("/home/ann/.config/paneview/tui.toml")


def test_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "tui.toml"
    file.write_text(GOOD)
    found = load_settings(file)
    assert found.problems == []
    assert (found.theme, found.themes[0].error, found.themes[0].dark) == ("mine", "#123456", False)
    assert found.keys == {"task.stop": "X", "task.kill": "ctrl+k,K", "table.filter": "?", "help": "f1"}
    assert load_settings(tmp_path / "none.toml").problems == []


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("theme = 3", "theme: must be the name of one"),
        ("themme = 'dark'", "themme: unknown, did you mean theme?"),
        ("[themes.x]\nfailled = '#123456'", "themes.x.failled: unknown, did you mean failed?"),
        ("[themes.x]\nok = 'green'", "themes.x.ok: a colour is written as #rrggbb"),
        ("[themes.x]\nbase = 'blue'", "themes.x.base: dark or light"),
        ("themes = 1", "themes: must be tables"),
        ("keys = 1", "keys: must be a table"),
        ("[keys]\nhelp = 1", "keys.help: must be a key or a list of them"),
        ("not toml", "tui.toml"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, written: str, told: str) -> None:
    file = tmp_path / "tui.toml"
    file.write_text(written)
    (problem,) = load_settings(file).problems
    assert told in problem


def test_what_is_no_file_is_told_and_passed_over(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(link)
    told = [load_settings(file).problems for file in (fifo, tmp_path, link, Path("/dev/zero"))]
    assert told == [
        [f"{fifo} cannot be read: it is not a regular file"],
        [f"{tmp_path} cannot be read: Is a directory"],
        [f"{link} cannot be read: Too many levels of symbolic links"],
        ["/dev/zero cannot be read: it is not a regular file"],
    ]


async def test_own_keys_and_colours_and_mistakes_that_harm_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PANEVIEW_THEME")
    file = tmp_path / "tui.toml"
    file.write_text(GOOD + '"task.flop" = "Z"\n')
    supervisor = shop()
    app = app_for(supervisor, settings=load_settings(file))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await eventually(lambda: app.picture.link.phase == "connected")
        await settled(pilot)
        assert any("there is no action 'task.flop'" in told for told in toasts(pilot))
        assert app.theme == "mine"
        assert app.inks.failed.color.name == "#123456"
        fleet(pilot).table.select("db")
        await eventually(lambda: "X stop" in text(pilot, "#hints"))
        await pilot.press("g", "j", "X")
        await eventually(lambda: supervisor.requests("stop") == [{"tasks": ["web"]}])
        await pilot.press("x")
        await pilot.press("question_mark")
        await pilot.pause()
        assert fleet(pilot).query("Prompt")
        await pilot.press("escape", "f1")
        await pilot.pause()
        assert "X          Stop" in text(pilot, "#help")
        assert len(supervisor.requests("stop")) == 1


async def test_the_names_of_the_actions_are_listed() -> None:
    app = PaneviewApp(shop().make, paths.state_home(), clock=lambda: NOW)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await eventually(lambda: app.picture.link.phase == "connected")
        await pilot.press("colon", *"keys", "enter")
        await eventually(lambda: "Actions" in text(pilot))
        assert "events.filter" in text(pilot, "#box")
        assert "task.stop" not in text(pilot, "#box")
        await pilot.press(*["pagedown"] * 6)
        await eventually(lambda: "task.stop  x  Stop" in text(pilot, "#box"))
