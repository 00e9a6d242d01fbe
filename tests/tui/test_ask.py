"""The ask prompt: what is typed, completed, remembered and sent."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any, cast

import pytest
from textual.pilot import Pilot

from paneview.config import paths
from paneview.control.errors import ControlError
from paneview.tui.ask import history as askhistory
from paneview.tui.ask import syntax as askwords
from paneview.tui.ask.history import AskHistory
from paneview.tui.ask.text import AskText
from paneview.tui.files import files_of
from paneview.tui.screens import ask as askform
from paneview.tui.screens.ask import AskForm, read_budget
from paneview.tui.screens.fleet import FleetScreen
from tests.harness import Sandbox, eventually
from tests.repository import git
from tests.tui.flow_scenes import FlowSupervisor, team
from tests.tui.running import app_for, running, toasts
from tests.tui.test_flows import asked, shows

NOTE = "#form-note"


@pytest.fixture(autouse=True)
def shop(sandbox: Sandbox) -> Path:
    """The project's folder, with files, and a history of its own (the sandbox's state folder)."""
    folder = sandbox.root / "shop"
    for name in ("src/cart.py", "src/cart_test.py", "docs/a note.md", "README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x\n")
    return folder


async def form(pilot: Pilot[int], folder: Path) -> AskForm:
    """The prompt, with all that can be completed."""
    pilot.app.picture.file = str(folder / "paneview.toml")  # type: ignore[attr-defined]
    await pilot.press("a")
    await shows(pilot, "enter begins default, review → plan → work → compound", where=NOTE)
    screen = pilot.app.screen
    assert isinstance(screen, AskForm)
    await eventually(lambda: "src/cart.py" in screen._files)
    return screen


def sent(
    text: str, workflow: str = "default", cwd: str | None = None, budget: float | None = None
) -> dict[str, object]:
    by = os.environ.get("USER") or os.environ.get("LOGNAME") or "user"
    return {"text": text, "workflow": workflow, "cwd": cwd, "budget_usd": budget, "by": by}


@pytest.mark.parametrize("typed", ["a\0b", "~a\0b", "x" * 200_000], ids=["null", "home", "long"])
async def test_a_folder_that_cannot_be_is_none(shop: Path, typed: str) -> None:
    async with running(team()) as pilot:
        screen = await form(pilot, shop)
        screen.field("folder").value = typed
        await pilot.press("@")
        await eventually(lambda: screen._files == [])


async def test_the_files_of_the_folder_typed_last_are_offered(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def slow(folder: Path) -> list[str]:
        if folder.name == "src":
            await released.wait()
        return await files_of(folder)

    monkeypatch.setattr(askform, "files_of", slow)
    async with running(team()) as pilot:
        screen = await form(pilot, shop)
        screen.field("folder").value = "src"
        first = asyncio.create_task(screen._learn_files())
        await eventually(lambda: screen._folder == shop / "src")
        screen.field("folder").value = "docs"
        await screen._learn_files()
        released.set()
        await first
        assert screen._files == ["a note.md"]


async def test_before_a_project_is_known_no_file_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    async with running(team()) as pilot:
        pilot.app.picture.file = None  # type: ignore[attr-defined]
        await pilot.press("a", "@")
        await shows(pilot, "tab ", where=NOTE)
        assert not cast("AskForm", pilot.app.screen)._files


async def test_several_lines_a_workflow_a_folder_and_a_budget(shop: Path) -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await form(pilot, shop)
        await pilot.press(*"Fix it", "ctrl+j", *"and tell", "tab")
        await shows(pilot, "tab default  careful", where=NOTE)
        await pilot.press(*"care", "tab", "tab")
        await shows(pilot, "tab docs  src", where=NOTE)
        await pilot.press(*"sr", "tab", "tab", *"none", "enter")
        await shows(
            pilot, "✗ the budget is an amount of dollars above 0, such as 2.50, not 'none'", where=NOTE
        )
        assert not supervisor.requests("ask")
        await pilot.press("ctrl+u", *"2.5")
        await shows(
            pilot,
            "enter begins careful, review → plan → work ◆ → compound · in a worktree\n",
            "of its own: asks before it works",
            where=NOTE,
        )
        await pilot.press("enter")
        await asked(supervisor, "ask", sent("Fix it\nand tell", "careful", "src", 2.5))
        await eventually(lambda: "careful-0000000a has begun: 4 shows it" in toasts(pilot))
        assert any("no worker is alive for planner" in one for one in toasts(pilot))
        assert isinstance(pilot.app.screen, FleetScreen)
        await pilot.press("4")
        await shows(pilot, "● running    Fix it ", where="#flows")


async def test_files_are_completed_behind_an_at(shop: Path) -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        screen = await form(pilot, shop)
        await pilot.press(*"See @cart")
        await shows(pilot, "tab src/cart.py  src/cart_test.py", where=NOTE)
        await pilot.press("tab", *"and @note", "tab", *"or @sr", "tab")
        await eventually(lambda: screen.text.text == 'See @src/cart.py and @"docs/a note.md" or @src/')
        await shows(pilot, "tab src/", where=NOTE)
        await pilot.press(*"nothing")
        await shows(pilot, "no such file or worker", where=NOTE)


async def test_a_worker_is_asked_at_once(shop: Path) -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        screen = await form(pilot, shop)
        await eventually(
            lambda: screen._targets == ["reviewer.1", "worker.1", "role:reviewer", "role:worker"]
        )
        await pilot.press(*"@wor")
        await shows(pilot, "tab worker.1  role:worker", where=NOTE)
        await pilot.press("tab", *"look at @cart", "tab")
        await shows(pilot, "worker.1", where="#ask-text")
        await pilot.press("enter")
        wanted = {"target": "worker.1", "kind": "prompt", "payload": {"text": "look at @src/cart.py"}}
        await asked(supervisor, "job_dispatch", wanted)
        await eventually(lambda: any(one.endswith("for worker.1: 3 shows it") for one in toasts(pilot)))
        assert not supervisor.requests("ask")
        await pilot.press("a", *"@worker.1 list", "tab", "tab", *"src", "enter")
        where = {"text": "list", "context": {"working_dir": str(shop / "src")}}
        await asked(supervisor, "job_dispatch", wanted, {**wanted, "payload": where})


async def test_history_is_kept_between_sessions_and_drafts_stay(shop: Path) -> None:
    async with running(team()) as pilot:
        for words in ("first", "second"):
            await form(pilot, shop)
            await pilot.press(*words, "enter")
            await eventually(lambda: isinstance(pilot.app.screen, FleetScreen))
        await pilot.press("a", "enter")
        await shows(pilot, "✗ What is to be done? Nothing is typed yet", where=NOTE)
        await pilot.press(*"draft", "escape")
        await eventually(lambda: isinstance(pilot.app.screen, FleetScreen))
        await pilot.press("a")
        await shows(pilot, "draft", where="#ask-text")
    async with running(team()) as pilot:
        screen = await form(pilot, shop)
        await eventually(lambda: screen.text._history == ["first", "second"])
        await pilot.press(*"new", "up")
        await shows(pilot, "second", where="#ask-text")
        await pilot.press("up", "up")
        await shows(pilot, "first", where="#ask-text")
        await pilot.press("down", "down")
        await shows(pilot, "new", where="#ask-text")
    file = paths.state_home() / "asked.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_refusal_stays_in_the_form(shop: Path) -> None:
    supervisor = team()
    supervisor.answers["ask"] = ControlError("/nowhere is not a folder", "bad_request")
    async with running(supervisor) as pilot:
        screen = await form(pilot, shop)
        await pilot.press(*"Go", "enter")
        await shows(pilot, "✗ /nowhere is not a folder", where=NOTE)
        assert screen.text.text == "Go"
        assert not (paths.state_home() / "asked.jsonl").exists()


async def test_who_sends_again_for_want_of_an_answer_asks_for_the_same(shop: Path) -> None:
    supervisor = team()
    supervisor.answers["ask"] = ControlError("ask: no answer within 30 s", "timeout")
    async with running(supervisor) as pilot:
        await form(pilot, shop)
        for number, typed in enumerate(("Go", "", "!"), 1):
            await pilot.press(*typed, "enter")
            await eventually(lambda number=number: len(supervisor.keys) == number)  # type: ignore[misc]
            await shows(pilot, "✗ ask: no answer", where=NOTE)
    first, again, other = supervisor.keys
    assert first == again != other


async def test_what_is_sent_is_told_of_also_where_the_form_was_closed(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = team()
    closed = asyncio.Event()
    answer = supervisor.call

    async def late(do: str, /, **args: Any) -> dict[str, Any]:
        if do == "ask":
            await closed.wait()
        return await answer(do, **args)

    monkeypatch.setattr(supervisor, "call", late)
    async with running(supervisor) as pilot:
        await form(pilot, shop)
        await pilot.press(*"Go", "enter", "escape")
        await eventually(lambda: isinstance(pilot.app.screen, FleetScreen))
        closed.set()
        await eventually(lambda: "default-0000000a has begun: 4 shows it" in toasts(pilot))
        assert not pilot.app.asked.draft  # type: ignore[attr-defined]
        closed.clear()
        supervisor.answers["ask"] = ControlError("/nowhere is not a folder", "bad_request")
        await pilot.press("a", *"On", "enter", "escape")
        await eventually(lambda: isinstance(pilot.app.screen, FleetScreen))
        closed.set()  # it is closed, and perhaps not taken down yet
        await eventually(lambda: "/nowhere is not a folder" in toasts(pilot))


async def test_what_is_typed_in_one_go_reaches_only_the_form(shop: Path) -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        app = pilot.app
        app.picture.file = str(shop / "paneview.toml")  # type: ignore[attr-defined]
        for name in ("a", *"xs", "ctrl+j", "K"):
            app.simulate_key(name)
        await eventually(lambda: [one.text for one in app.screen.query(AskText)] == ["xs\nK"])
        assert not [do for do, _ in supervisor.asked if do in ("stop", "start", "kill")]


@pytest.mark.parametrize("screen", ["1", "2", "3", "4", "5", "6"])
async def test_it_opens_from_every_screen(screen: str) -> None:
    async with running(team(), (40, 10)) as pilot:
        await pilot.press(screen, "a")
        await shows(pilot, "Ask agents", "workflow default", "budget")


async def test_the_command_fills_it_in(shop: Path) -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await pilot.press("colon", *"ask Say hello", "enter")
        await shows(pilot, "Say hello", where="#ask-text")
        await pilot.press("enter")
        await asked(supervisor, "ask", sent("Say hello"))


async def test_the_editor_cannot_be_opened_without_a_terminal(shop: Path) -> None:
    async with running(team()) as pilot:
        screen = await form(pilot, shop)
        await pilot.press(*"Go", "ctrl+o")
        await eventually(lambda: any("$EDITOR names another" in one for one in toasts(pilot)))
        assert screen.text.text == "Go"


async def test_where_workflows_cannot_be_asked_for_it_says_so(shop: Path) -> None:
    supervisor = FlowSupervisor([])
    supervisor.answers["workflow_plans"] = ControlError("there is no supervisor of this project", "failed")
    app = app_for(supervisor)
    async with app.run_test(size=(80, 24)) as pilot:
        await eventually(lambda: app.picture.link.phase == "connected")
        await pilot.press("a")
        await shows(pilot, "✗ there is no supervisor of this project", where=NOTE)


def test_the_history_is_of_the_project_and_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(askhistory, "KEPT", 10)
    file = tmp_path / "new" / "asked.jsonl"
    history = AskHistory(file.parent)
    assert history.of("a") == []
    for number in range(25):
        history.add("a", f"line {number}\nand more")
    history.add("b", "other")
    history.add("a", "line 20\nand more")
    with file.open("a") as out:
        out.write("torn {\n[1]\n7\n" + "[" * 100_000 + "\n")
    mine = history.of("a")
    assert mine[0] == "line 10\nand more"
    assert mine[-2:] == ["line 24\nand more", "line 20\nand more"]
    assert len(mine) == len(set(mine)) == 15
    assert history.of("b") == ["other"]
    assert [one.name for one in file.parent.iterdir()] == ["asked.jsonl"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_files_as_git_knows_them(tmp_path: Path) -> None:
    for name in ("a.py", "sub/b.py", "node_modules/c.js", ".hidden/d", "out/e.o"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert await files_of(tmp_path) == ["a.py", "out/", "out/e.o", "sub/", "sub/b.py"]
    (tmp_path / ".gitignore").write_text("out/\nnode_modules/\n.hidden/\n")
    await asyncio.to_thread(git, tmp_path, "init", "-q")
    await asyncio.to_thread(git, tmp_path, "add", "a.py")
    await asyncio.to_thread(git, tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    for _ in range(2):
        assert await files_of(tmp_path) == [".gitignore", "a.py", "sub/", "sub/b.py"]
    assert await files_of(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("line", "typed", "first"),
    [
        ("@", "", True),
        ("@ab", "ab", True),
        ("  @a/b", "a/b", True),
        ("see @x", "x", False),
        ('(@"a b', "a b", False),
    ],
)
def test_a_token(line: str, typed: str, first: bool) -> None:
    found = askwords.token(line, first_line=True)
    assert found is not None
    assert (found.typed, found.first) == (typed, first)
    assert line[found.column] == "@"
    again = askwords.token(line, first_line=False)
    assert again is not None
    assert not again.first


@pytest.mark.parametrize("line", ["", "a@b", "@a ", "mail ann@example.org", '@"a b"'])
def test_no_token(line: str) -> None:
    assert askwords.token(line, first_line=True) is None


def test_what_fits_best_comes_first() -> None:
    names = ["src/shop/cart.py", "cart.md", "src/cart_test.py", "tests/scart", "a/b/cart/"]
    assert askwords.matches("cart", names) == [
        "cart.md",
        "src/cart_test.py",
        "a/b/cart/",
        "src/shop/cart.py",
        "tests/scart",
    ]
    assert askwords.matches("sr/ca", names) == ["src/cart_test.py", "src/shop/cart.py"]
    assert askwords.matches("nope", names) == []


@pytest.mark.parametrize(
    ("typed", "target", "what"),
    [
        ("@w1 do it", "w1", "do it"),
        ("@w1\ndo it\nnow", "w1", "do it\nnow"),
        ("@w2 do it", "", "@w2 do it"),
        ("@w1", "", "@w1"),
        ("do @w1 it ", "", "do @w1 it"),
    ],
)
def test_for_whom(typed: str, target: str, what: str) -> None:
    assert askwords.read(typed, ["w1"]) == (target, what)


@pytest.mark.parametrize(("typed", "value"), [("", None), (" 2 ", 2.0), ("$0.50", 0.5)])
def test_budgets(typed: str, value: float | None) -> None:
    assert read_budget(typed) == value


@pytest.mark.parametrize("typed", ["0", "-1", "x", "nan", "inf"])
def test_what_is_no_budget(typed: str) -> None:
    with pytest.raises(ValueError, match="the budget is an amount of dollars above 0"):
        read_budget(typed)
