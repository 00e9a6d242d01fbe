"""What is around the screens: leaving, losing the supervisor, commands, help, sizes, themes."""

from __future__ import annotations

import asyncio
import re
import threading

import pytest
from textual import events

from paneview.config import paths
from paneview.control.errors import ControlError
from paneview.tui.app import PaneviewApp
from paneview.tui.screens.frame import form_of
from tests.harness import eventually
from tests.tui.flow_scenes import team
from tests.tui.queue_scenes import office
from tests.tui.running import app_for, fleet, running, settled, text, toasts
from tests.tui.scenes import one, shop
from tests.tui.scripted import Supervisor, task


async def test_leaving_asks_and_leaves_everything_running_by_default() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("q")
        await pilot.pause()
        assert "▌ l Leave     3 tasks and the supervisor go on" in text(pilot, "#box")
        await pilot.press("escape")
        await pilot.pause()
        assert fleet(pilot).is_current
        await pilot.press("q", "enter")
        await eventually(lambda: not pilot.app.is_running)
        assert not supervisor.requests("down")
        assert pilot.app.farewell.startswith("shop goes on")


async def test_leaving_can_stop_everything() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("q", "s")
        await eventually(lambda: not pilot.app.is_running)
        assert supervisor.requests("down") == [{}]


async def test_a_refused_stop_of_everything_stays_and_tells() -> None:
    supervisor = shop()
    supervisor.answers["down"] = ControlError("not now", "failed")
    async with running(supervisor) as pilot:
        await pilot.press("q", "s")
        await eventually(lambda: "stop all: not now" in toasts(pilot))
        assert pilot.app.is_running


# The key, and for how many turns of the event loop: what it opens is half there by then.
OPENING = [("a", 8), *((key, 5) for key in [*"23456d", "colon", "ctrl+p"])]


@pytest.mark.parametrize(("key", "turns"), OPENING)
async def test_it_is_left_while_a_screen_opens(key: str, turns: int) -> None:
    app = app_for(one())
    async with app.run_test() as pilot:
        await eventually(lambda: app.picture.link.phase == "connected")
        await pilot.pause()
        app.post_message(events.Key(key, key if len(key) == 1 else None))
        for _ in range(turns):
            await asyncio.sleep(0)
        app.exit(143)
        await eventually(lambda: not app.is_running)
    assert app.return_value == 143


async def test_escape_never_quits() -> None:
    async with running(shop()) as pilot:
        await pilot.press("2", "escape", "escape", "escape", "5", "escape", "escape")
        await pilot.pause()
        assert fleet(pilot).is_current
        assert pilot.app.is_running


async def test_a_lost_supervisor_leaves_the_picture_and_comes_back_by_itself() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        supervisor.go("the supervisor ended")
        await eventually(lambda: "✗ disconnected: 'paneview daemon' starts another" in text(pilot, "#header"))
        await pilot.resize_terminal(120, 24)
        await eventually(
            lambda: "the supervisor ended, reconnecting… 'paneview daemon' starts" in text(pilot, "#header")
        )
        await pilot.resize_terminal(80, 24)
        assert "importer" in text(pilot, "#tasks")
        assert "row 39 imported" in text(pilot, "#log")
        await pilot.press("x")
        await eventually(lambda: "stop: the supervisor ended" in toasts(pilot))
        supervisor.tasks["db"] |= {"state": "failed", "running": False}
        supervisor.logs["importer"].append("written meanwhile")
        supervisor.come_back()
        await eventually(
            lambda: "failed" in text(pilot, "#header") and "disconnected" not in text(pilot, "#header")
        )
        assert fleet(pilot).table.keys[:2] == ["db", "importer"]
        assert "file refused" not in text(pilot, "#header")
        await eventually(lambda: "written meanwhile" in text(pilot, "#log"))
        supervisor.file_problem = "/home/ann/shop/paneview.toml:3:1: unknown key 'comand'"
        supervisor.tell_all()
        await eventually(lambda: "✗ file refused" in text(pilot, "#header"))


async def test_a_long_name_of_the_project_hides_neither_the_screen_nor_what_needs_a_person() -> None:
    supervisor = shop()
    supervisor.session = "a-project-with-a-rather-long-name"
    async with running(supervisor, (40, 12)) as pilot:
        await pilot.press("3")
        await eventually(lambda: re.search("a-proj.*….*queue .*✗", text(pilot, "#header")))


async def test_the_commands_that_the_screen_names_are_for_its_file() -> None:
    async with app_for(Supervisor([]), named="my shop.toml").run_test(notifications=True) as pilot:
        await eventually(lambda: "'paneview -c 'my shop.toml' add NAME COMMAND'" in text(pilot, "#tasks"))
        pilot.app.tell("`paneview kill web` ends it, or 'paneview -c other.toml down'")
        told = "`paneview -c 'my shop.toml' kill web` ends it, or 'paneview -c other.toml down'"
        await eventually(lambda: told in toasts(pilot))


async def test_leaving_without_a_supervisor_asks_nothing() -> None:
    supervisor = shop()
    async with app_for(supervisor, named="my shop.toml").run_test() as pilot:
        await eventually(lambda: pilot.app.picture.link.phase == "connected")
        supervisor.go()
        await eventually(
            lambda: "✗ 'paneview daemon -c 'my shop.toml'' starts another" in text(pilot, "#header")
        )
        await pilot.press("q")
        await eventually(lambda: not pilot.app.is_running)
        assert pilot.app.farewell == "shop: the supervisor ended; 'paneview -c 'my shop.toml'' starts another"


async def test_a_start_that_fails_ends_the_screen_with_the_reason() -> None:
    shown = threading.Event()

    def fail() -> None:
        shown.wait()  # the pilot waits for ever for an app that has ended before
        raise ValueError("tmux is missing")

    supervisor = shop()
    app = PaneviewApp(supervisor.make, paths.state_home(), start=fail)
    async with app.run_test():
        shown.set()
        await eventually(lambda: app.failure is not None)
    assert str(app.failure) == "tmux is missing"


async def test_the_supervisor_is_started_while_the_first_frame_is_shown() -> None:
    started = []
    supervisor = shop()
    app = PaneviewApp(supervisor.make, paths.state_home(), start=lambda: started.append(True))
    async with app.run_test():
        await eventually(lambda: app.picture.link.phase == "connected")
    assert started == [True]


@pytest.mark.parametrize(
    ("typed", "do", "args"),
    [
        ("restart web api", "restart", {"tasks": ["web", "api"]}),
        ("stop db", "stop", {"tasks": ["db"]}),
        ("reload", "reload", {}),
        ("start", "start", {"tasks": ["importer"]}),
    ],
)
async def test_commands_that_ask_the_supervisor(typed: str, do: str, args: dict[str, object]) -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await command(pilot, typed)
        if len(args.get("tasks", [])) > 1:
            await pilot.press("y")
        elif do == "stop":
            await pilot.press("o")
        await eventually(lambda: supervisor.requests(do) == [args])


async def command(pilot: object, typed: str) -> None:
    await pilot.press("colon")
    await pilot.pause()
    pilot.app.screen.query_one("#prompt-line").value = typed
    await pilot.press("enter")
    await pilot.pause()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("restrat web", "no command :restrat, did you mean :restart?"),
        ("stop ghost", "no task ghost"),
        ("logs ghost", "no task ghost"),
        ("sort by moon", "sort by urgency, file, name, cpu, memory, restarts"),
        ("stop 'a", "No closing quotation"),
    ],
)
async def test_commands_that_are_not_understood(typed: str, told: str) -> None:
    async with running(shop()) as pilot:
        await command(pilot, typed)
        await eventually(lambda: toasts(pilot) == [told])


async def test_commands_that_show_something() -> None:
    async with running(shop()) as pilot:
        await command(pilot, "logs api /items/7 ")
        await eventually(lambda: "/items/7" in text(pilot, "#log") and " logs " in text(pilot, "#header"))
        await command(pilot, "sort name")
        assert fleet(pilot).table.keys[0] == "api"
        await command(pilot, "filter web")
        assert fleet(pilot).table.keys == ["web", "mailer"] or fleet(pilot).table.keys == ["web"]
        await command(pilot, "theme light")
        assert pilot.app.theme == "paneview-light"
        assert fleet(pilot).pv.inks.base.bgcolor.name == "#fcfcfd"
        await command(pilot, "attach")  # to the selected one, as `logs` and `edit` do
        await command(pilot, "events")
        assert " events " in text(pilot, "#header")
        assert not toasts(pilot)


async def test_what_was_typed_before_comes_back() -> None:
    async with running(shop()) as pilot:
        await command(pilot, "sort name")
        await command(pilot, "sort cpu")
        await pilot.press("colon")
        await pilot.pause()
        line = pilot.app.screen.query_one("#prompt-line")
        await pilot.press("up", "up")
        assert line.value == "sort name"
        await pilot.press("down")
        assert line.value == "sort cpu"


async def test_tab_completes_the_name_of_a_task() -> None:
    async with running(shop()) as pilot:
        await pilot.press("colon", *"restart im")
        await pilot.pause(0.1)
        await pilot.press("tab")
        assert pilot.app.screen.query_one("#prompt-line").value == "restart importer"


async def test_the_palette_offers_every_action_on_every_task() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("ctrl+p", *"restart api")
        await eventually(lambda: pilot.app.screen.query("CommandList"))
        await pilot.pause(0.3)
        await pilot.press("enter")
        await pilot.pause(0.1)
        if pilot.app.screen is not fleet(pilot):
            await pilot.press("enter")
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["api"]}])


async def test_the_help_is_made_of_the_bindings() -> None:
    async with running(shop(), (130, 60)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        shown = text(pilot, "#help")
        for line in (
            "s          Start",
            "K          Kill at once",
            "/          Filter: regex",
            "f          Only what fails",
        ):
            assert line in shown
        assert "● healthy" in shown
        await pilot.press("escape", "2", "question_mark")
        await pilot.pause()
        assert "Next task" in text(pilot, "#help")
        assert "Only what fails" not in text(pilot, "#help")


FOR_TASKS = (
    "Start",
    "Restart",
    "Kill at once",
    "One replica more",
    "Edit it in",
    "Why it is",
    "Go into",
    "Type to it",
)


@pytest.mark.parametrize(
    ("keys", "works"),
    [
        (("4",), False),
        (("4", "enter"), False),
        (("3",), False),
        (("3", "enter"), False),
        (("3", "shift+tab"), True),
        (("5",), True),
        (("6",), True),
    ],
)
async def test_the_help_has_no_keys_for_tasks_where_none_is_selected(
    keys: tuple[str, ...], works: bool
) -> None:
    supervisor = office() if keys[0] == "3" else team()
    async with running(supervisor, (130, 60)) as pilot:
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        await pilot.press("question_mark")
        await eventually(lambda: pilot.app.screen.query("#help"))
        shown = text(pilot, "#help")
        assert [part for part in FOR_TASKS if part in shown] == (list(FOR_TASKS) if works else [])
        assert "n          To what needs input" in shown


async def test_a_key_for_tasks_does_nothing_where_the_help_has_none() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await pilot.press("4", "w", "i", "K", "s")
        await pilot.pause()
        assert pilot.app.screen.CRUMB == "workflows"
        assert not toasts(pilot)
        assert not supervisor.requests("start")


async def test_the_help_leaves_out_what_every_pane_has_another_use_for() -> None:
    async with running(shop(), (130, 60)) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert "w          Why it is as it is" in text(pilot, "#help")
        assert "w          Wrap long lines" in text(pilot, "#help")
        await pilot.press("escape", "2", "question_mark")
        await pilot.pause()
        assert "Why it is as it is" not in text(pilot, "#help")
        assert "w          Wrap long lines" in text(pilot, "#help")
        assert "n          To what needs input" in text(pilot, "#help")  # while nothing is searched for
        assert "n          Next match, older" in text(pilot, "#help")


async def test_hints_follow_the_situation_and_the_focus_and_are_at_most_six() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        assert text(pilot, "#hints") == " w why  s start  r restart  / filter  ? help  q leave"
        fleet(pilot).table.select("db")
        await eventually(
            lambda: text(pilot, "#hints") == " s start  x stop  r restart  / filter  ? help  q leave"
        )
        supervisor.change("api", needs_input="Overwrite?")
        await eventually(
            lambda: text(pilot, "#hints") == " n needs input  i type  x stop  / filter  ? help  q leave"
        )
        await pilot.press("tab")
        await pilot.pause()
        assert text(pilot, "#hints") == " / search  w wrap  & filter  f follow  ? help  q leave"
        await pilot.press("slash")
        await pilot.pause()
        assert text(pilot, "#hints") == " enter go  ↑ earlier  esc cancel"


@pytest.mark.parametrize(
    ("width", "height", "form"),
    [
        (80, 24, "stacked"),
        (200, 60, "wide"),
        (150, 29, "stacked"),
        (59, 24, "single"),
        (80, 15, "single"),
        (39, 24, "tiny"),
    ],
)
def test_layouts(width: int, height: int, form: str) -> None:
    assert form_of(width, height) == form


async def test_a_terminal_that_changes_its_size() -> None:
    async with running(shop()) as pilot:
        await pilot.resize_terminal(38, 9)
        await pilot.pause()
        assert "38x9 is too small" in text(pilot)
        await pilot.resize_terminal(50, 14)
        await pilot.pause()
        assert "TASK" in text(pilot)
        assert "row 39" not in text(pilot)
        await pilot.press("tab")
        await settled(pilot)
        assert "row 39" in text(pilot)
        assert "TASK" not in text(pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert "TASK" in text(pilot)
        await pilot.resize_terminal(200, 60)
        await settled(pilot)
        shown = text(pilot)
        assert "TASK" in shown
        assert "row 39" in shown
        assert "lately" in shown


async def test_data_is_never_taken_for_markup_or_escapes() -> None:
    evil = "[red]x[/red]\x1b[2J\x1b]0;pwned\x07"
    supervisor = Supervisor(
        [task("a", "failed", reason=evil, command=evil, description=evil)], logs={"a": [evil]}
    )
    async with running(supervisor, (200, 60)) as pilot:
        supervisor.happen("task_failed", "a", cause=evil, detail={"error": evil})
        await pilot.press("w")
        await pilot.pause()
        shown = text(pilot)
        assert "[red]x[/red]" in shown
        assert "\x1b" not in shown
        assert "\x07" not in shown


async def test_no_color_uses_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANEVIEW_THEME")
    monkeypatch.setenv("NO_COLOR", "1")
    async with running(shop()) as pilot:
        strips = pilot.app.screen._compositor.render_strips()
        styles = [segment.style for strip in strips for segment in strip if segment.style]
        assert {style.color.name for style in styles if style.color} <= {"default"}
        assert {style.bgcolor.name for style in styles if style.bgcolor} <= {"default"}
        assert any(style.reverse for style in styles)
        assert "✗ failed" in text(pilot)


async def test_events_are_told_and_can_be_filtered() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        assert "stopped with 130" in text(pilot, "#newest")
        supervisor.happen("task_killed", "api", actor="user:bob")
        await eventually(lambda: "api killed  " in text(pilot, "#newest"))
        await pilot.press("5")
        await pilot.pause()
        assert text(pilot, "#events").splitlines()[-1].strip() != "Nothing has happened yet"
        assert "bob" in text(pilot, "#events")
        assert "actor user:bob" in text(pilot, "#event-text")
        await pilot.press("slash", *"importer", "enter")
        await pilot.pause()
        assert "worker" not in text(pilot, "#events")
        assert "gave up restarting" in text(pilot, "#events")
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert fleet(pilot).is_current


async def test_an_app_without_supervisor_says_starting_for_as_long_as_it_takes() -> None:
    supervisor = shop()
    supervisor.up = False
    async with app_for(supervisor).run_test() as pilot:
        await pilot.press("j", "x", "2", "5", "1", "tab", "question_mark", "escape")
        await pilot.pause()
        assert "starting…" in text(pilot, "#header")


async def test_what_is_typed_in_one_go_reaches_the_prompt() -> None:
    async with running(shop()) as pilot:
        for key in ["colon", *"sort", "space", *"name", "enter"]:
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else {"space": " "}.get(key)))
        await eventually(lambda: fleet(pilot).table.order == "name")
        await eventually(lambda: fleet(pilot).focused is fleet(pilot).table)
