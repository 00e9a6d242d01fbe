"""The table of tasks, its keys, and the actions."""

from __future__ import annotations

import pytest

from paneview.config import paths
from paneview.control.errors import ControlError
from paneview.tui.app import PaneviewApp
from paneview.tui.tasks.actions import MOST_NAMED, VERBS, effects
from paneview.tui.tasks.detail import Detail
from tests.harness import eventually
from tests.tui.running import app_for, fleet, running, settled, text, toasts
from tests.tui.scenes import shop
from tests.tui.scripted import NOW, Supervisor, task


def many(count: int) -> Supervisor:
    return Supervisor([task(f"t{number:03}", started_at=NOW - 5000) for number in range(count)])


async def test_before_the_first_word_of_the_supervisor_the_screen_says_so() -> None:
    supervisor = shop()
    supervisor.up = False
    async with app_for(supervisor).run_test() as pilot:
        await pilot.pause()
        assert "starting…" in text(pilot, "#header")
        assert "starting…" in text(pilot, "#tasks")
        supervisor.come_back()
        await eventually(lambda: "importer" in text(pilot, "#tasks"))


async def test_what_needs_a_person_comes_first_and_the_rest_in_the_order_of_the_file() -> None:
    async with running(shop()) as pilot:
        names = ["importer", "web", "worker", "mailer", "db", "api", "prepare", "shell", "日本語-名前"]
        assert fleet(pilot).table.keys == names


async def test_the_log_follows_the_cursor() -> None:
    async with running(shop()) as pilot:
        assert "row 39 imported" in text(pilot, "#log")
        await pilot.press("j")
        await settled(pilot)
        assert "web: connect [b]refused[/b] 59 日本" in text(pilot, "#log")


async def test_the_cursor_stays_with_its_task_when_rows_move() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j")
        assert fleet(pilot).table.cursor == "db"
        supervisor.change("db", state="failed", running=False)
        await eventually(lambda: fleet(pilot).table.keys[0] == "db")
        assert fleet(pilot).table.cursor == "db"
        supervisor.tasks.pop("db")
        supervisor._snapshot()
        await eventually(lambda: "db" not in fleet(pilot).table.keys)
        assert fleet(pilot).table.cursor == "importer"


async def test_the_selected_row_is_always_in_view() -> None:
    async with running(many(200)) as pilot:
        for keys, name in (
            (["G"], "t199"),
            (["pageup"], "t193"),
            (["g"], "t000"),
            (["pagedown", "j"], "t007"),
        ):
            await pilot.press(*keys)
            assert fleet(pilot).table.cursor == name
            assert f"▌ {name}" in text(pilot, "#tasks")


async def test_changes_of_other_tasks_do_not_scroll() -> None:
    supervisor = many(200)
    async with running(supervisor) as pilot:
        await pilot.press("o", *["pagedown"] * 8)
        before = text(pilot, "#tasks")
        for number in range(100, 200):
            supervisor.change(f"t{number:03}", state="stopping")
        await pilot.pause(0.1)
        assert text(pilot, "#tasks") == before


async def test_keys_ask_the_supervisor_and_nothing_else_changes() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j")
        before = text(pilot, "#tasks")
        await pilot.press("x", "o", "s", "r")
        await eventually(lambda: len(supervisor.asked) > 3 and supervisor.requests("restart"))
        assert supervisor.requests("stop") == [{"tasks": ["db"]}]
        assert supervisor.requests("start") == [{"tasks": ["db"]}]
        assert supervisor.requests("restart") == [{"tasks": ["db"]}]
        assert text(pilot, "#tasks") == before
        await eventually(lambda: "db restarted" in toasts(pilot))


async def test_a_start_of_what_runs_says_so() -> None:
    supervisor = shop()
    supervisor.answers["start"] = {"results": [{"ok": True, "task": "web"}], "already": ["web"]}
    async with running(supervisor) as pilot:
        await pilot.press("j", "s")
        await eventually(lambda: toasts(pilot) == ["web runs already"])
        await pilot.press("space", "space", "s")
        await eventually(lambda: "worker started; web runs already" in toasts(pilot))


async def test_a_refusal_is_told_with_its_reason() -> None:
    supervisor = shop()
    supervisor.answers["stop"] = ControlError("[red]no[/red] such luck", "failed")
    supervisor.answers["restart"] = {"results": [{"ok": False, "task": "web", "error": "port 3000 is taken"}]}
    async with running(supervisor) as pilot:
        await pilot.press("x", "r")
        await eventually(lambda: len(toasts(pilot)) == 2)
        assert toasts(pilot) == ["stop: [red]no[/red] such luck", "web: port 3000 is taken"]
        await pilot.press("5")
        await pilot.pause()
        assert "not done · web: port 3000 is taken" in text(pilot, "#events")
        await pilot.press("G")
        await eventually(lambda: " kind refused" in text(pilot))
        assert "── event ──" in text(pilot)
        supervisor.happen("task_started", "web")
        await eventually(lambda: "web            started" in text(pilot, "#events").splitlines()[-1])


async def test_what_needs_input_comes_first_is_marked_and_n_goes_there() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j")
        supervisor.change(
            "api", needs_input="Overwrite? [y/N]", reason="waits for an answer: Overwrite? [y/N]"
        )
        await eventually(lambda: fleet(pilot).table.keys[0] == "api")
        assert "◆ needs input" in text(pilot, "#tasks").splitlines()[1]
        assert "◆ 1 needs input" in text(pilot, "#header")
        assert fleet(pilot).table.cursor == "db"
        await pilot.press("n")
        assert fleet(pilot).table.cursor == "api"
        await pilot.press("w")
        await pilot.pause()
        assert "api waits for your answer: “Overwrite? [y/N]”; i types it." in text(pilot, "#box")
        await pilot.press("escape", "5")
        await pilot.pause()
        assert "◆ 1 needs input" in text(pilot, "#header")
        supervisor.change("api", needs_input=None, reason="")
        await eventually(lambda: "needs input" not in text(pilot, "#header"))


async def test_what_is_selected_elsewhere_and_hidden_by_the_filter_here() -> None:
    """Keys act on the task whose log is shown: else an answer would be typed into another task."""
    async with running(shop()) as pilot:
        await pilot.press(*"/^db", "enter", "6", "g")
        assert pilot.app.selected != "db"
        await pilot.press("1")
        await settled(pilot)
        assert [*fleet(pilot).table.keys, fleet(pilot).target(), pilot.app.selected] == ["db"] * 3
        assert "── db " in text(pilot, "#log")
        await pilot.press("5", "n")
        await settled(pilot)
        assert (fleet(pilot).target(), pilot.app.selected) == ("web", "web")
        assert "web: connect [b]refused[/b] 59 日本" in text(pilot, "#log")
        assert "▌ web" in text(pilot, "#tasks")


async def test_n_goes_on_to_what_failed() -> None:
    async with running(shop()) as pilot:
        await pilot.press("n")
        assert fleet(pilot).table.cursor == "web"
        await pilot.press("n")
        assert fleet(pilot).table.cursor == "importer"


async def test_what_ends_very_many_tasks_names_the_first_and_counts_the_rest() -> None:
    async with running(many(50)) as pilot:
        names = fleet(pilot).table.keys
        told = effects(VERBS["stop"], names, pilot.app.picture)
        assert told[MOST_NAMED] == "… and t009, t010, t011, t012 and 37 more"


async def test_kill_asks_lists_the_effects_and_defaults_to_no() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("j", "j", "j", "j", "K")
        await pilot.pause()
        shown = text(pilot, "#box")
        assert "Kill db?" in shown
        assert "healthy for 12m, pid" in shown
        assert "Needed by api, web, still running." in shown
        assert "▌ n No" in shown
        await pilot.press("enter")
        await pilot.pause()
        assert not supervisor.requests("kill")
        await pilot.press("K", "y")
        await eventually(lambda: supervisor.requests("kill") == [{"tasks": ["db"]}])


async def test_marked_tasks_are_acted_on_together_after_one_question() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.press("j", "space", "space", "x")
        await pilot.pause()
        assert "Stop 2 tasks?" in text(pilot, "#box")
        await pilot.press("down", "enter")
        await eventually(lambda: supervisor.requests("stop") == [{"tasks": ["web", "worker"]}])
        assert not fleet(pilot).table.marked


async def test_marked_tasks_that_the_filter_hides_are_left_alone_and_told() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        fleet(pilot).table.select("web")
        await pilot.press("space", "slash", *"worker", "enter")
        await eventually(lambda: "1 marked, 1 hidden" in text(pilot, "#header"))
        await pilot.press("r")
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["worker"]}])
        assert fleet(pilot).table.marked == {"web"}
        await pilot.press("equals_sign")
        await eventually(lambda: any(toast.startswith("Mark two tasks") for toast in toasts(pilot)))


async def test_mark_all_that_match() -> None:
    async with running(shop()) as pilot:
        await pilot.press("slash", *"er$", "enter", "asterisk")
        assert fleet(pilot).table.marked == {"importer", "worker", "mailer"}
        await pilot.press("asterisk")
        assert not fleet(pilot).table.marked


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("^we|^wo", ["web", "worker"]),
        ("!^we|^wo", ["importer", "mailer", "db", "api", "prepare", "shell", "日本語-名前"]),
        ("unhealthy", ["web"]),
        ("uvicorn", ["api"]),
        ("(", ["api"]),
    ],
)
async def test_the_filter(typed: str, shown: list[str]) -> None:
    supervisor = shop()
    supervisor.tasks["api"]["command"] = "uvicorn (x)"
    async with running(supervisor) as pilot:
        await pilot.press("slash")
        await pilot.pause()
        pilot.app.screen.query_one("#prompt-line").value = typed
        await pilot.press("enter")
        assert fleet(pilot).table.keys == shown
        await pilot.press("escape")
        assert len(fleet(pilot).table.keys) == 9


async def test_the_filter_is_tried_while_typed_and_undone_by_escape() -> None:
    async with running(shop()) as pilot:
        await pilot.press("slash", *"api")
        await eventually(lambda: fleet(pilot).table.keys == ["api"])
        await pilot.press("escape")
        await eventually(lambda: len(fleet(pilot).table.keys) == 9)
        assert fleet(pilot).focused is fleet(pilot).table


async def test_an_empty_table_names_the_next_key() -> None:
    async with running(shop()) as pilot:
        await pilot.press("slash", *"zzz", "enter")
        assert "No task matches zzz. Esc clears the filter" in text(pilot, "#tasks")
    async with running(Supervisor([])) as pilot:
        assert "No tasks yet" in text(pilot, "#tasks")
    async with running(many(3)) as pilot:
        await pilot.press("f")
        assert "Nothing fails. f shows all tasks" in text(pilot, "#tasks")


async def test_only_what_fails_and_other_orders() -> None:
    async with running(shop()) as pilot:
        await pilot.press("f")
        assert fleet(pilot).table.keys == ["importer", "web", "worker"]
        await pilot.press("f", "o")
        assert fleet(pilot).table.keys[:3] == ["prepare", "db", "api"]
        await pilot.press("o")
        assert fleet(pilot).table.keys[:2] == ["api", "db"]
        assert "TASK▾" in text(pilot, "#tasks")
        assert "by name" in text(pilot, "#header")
        await pilot.press("f", "space")
        assert "only failing · by name · 1 marked" in text(pilot, "#header")


async def test_w_says_why_a_task_waits() -> None:
    async with running(shop()) as pilot:
        await pilot.press("j", "j", "j", "w")
        await pilot.pause()
        assert "mailer waits: web is not ready" in text(pilot, "#box")


async def test_columns_fall_away_but_never_name_state_and_exit() -> None:
    seen = {}
    for width in (150, 80, 64, 58, 52, 44):
        async with running(shop(), (width, 24)) as pilot:
            seen[width] = text(pilot, "#tasks").splitlines()[0].split()
    assert seen[80] == ["TASK", "STATE", "EXIT", "UP", "RST", "CPU", "MEM", "PID"]
    assert seen[64] == ["TASK", "STATE", "EXIT", "UP", "RST", "CPU", "PID"]
    assert seen[58] == ["TASK", "STATE", "EXIT", "UP", "RST", "PID"]
    assert seen[44][:3] == ["TASK", "STATE", "EXIT"]
    assert "WHY" in seen[150]


async def test_clicks_select_and_choose() -> None:
    async with running(shop()) as pilot:
        await pilot.click("#tasks", offset=(5, 3))
        assert fleet(pilot).table.cursor == "worker"
        await pilot.click("#tasks", offset=(5, 3))
        await pilot.pause()
        assert pilot.app.screen.CRUMB == "logs"


async def test_ctrl_c_harms_nothing_and_says_how_to_leave() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        asked = len(supervisor.asked)
        await pilot.press("ctrl+c")
        assert "q leaves" in toasts(pilot)[0]
        assert len(supervisor.asked) == asked
        assert pilot.app.is_running


async def test_the_uptime_goes_on() -> None:
    now = [NOW]
    app = PaneviewApp(shop().make, paths.state_home(), clock=lambda: now[0])
    async with app.run_test() as pilot:
        await eventually(lambda: "12m" in text(pilot, "#tasks"))
        now[0] += 60
        await eventually(lambda: "13m" in text(pilot, "#tasks"))


async def test_a_second_in_which_nothing_reads_differently_draws_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [NOW]
    app = PaneviewApp(shop().make, paths.state_home(), clock=lambda: now[0])
    async with app.run_test(size=(160, 50)) as pilot:
        await eventually(lambda: "▌ importer" in text(pilot, "#tasks"))
        screen = fleet(pilot)
        await settled(pilot)
        drawn: list[str] = []
        for widget in (screen.table, screen.query_one(Detail)):
            monkeypatch.setattr(widget, "refresh", lambda *_, name=widget.id: drawn.append(str(name)))
        screen.tick()
        assert not drawn
        now[0] += 1  # one waits for its restart
        screen.tick()
        assert drawn == ["tasks"]


async def test_a_task_that_goes_before_the_table_hears_of_it() -> None:
    async with running(shop()) as pilot:
        pilot.app.picture.tasks.pop("web")
        fleet(pilot).table.repaint()
        await pilot.pause()
        assert "importer" in text(pilot, "#tasks")


async def test_hints_and_the_newest_event_can_be_clicked() -> None:
    supervisor = shop()
    async with running(supervisor) as pilot:
        await pilot.click("#hints", offset=(20, 0))
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["importer"]}])
        await pilot.click("#newest", offset=(20, 0))
        await eventually(lambda: " events " in text(pilot, "#header"))


async def test_a_question_out_of_view_is_told_above_the_rows_and_moves_nothing() -> None:
    supervisor = many(50)
    async with running(supervisor) as pilot:
        await pilot.press("G")
        table = fleet(pilot).table
        before = text(pilot, "#tasks").splitlines()
        assert before[-1].startswith("▌ t049")
        supervisor.change("t005", needs_input="Overwrite? [y/N]")
        await eventually(lambda: "t005" in text(pilot, "#tasks"))
        lines = text(pilot, "#tasks").splitlines()
        assert "◆ t005 needs input: Overwrite? [y/N]" in lines[0]
        assert lines[0].rstrip().endswith("n goes there")
        assert lines[1:] == before[1:]
        await pilot.press("slash")  # where n would be typed, it goes nowhere
        await eventually(lambda: "goes there" not in text(pilot, "#tasks"))
        await pilot.press("escape")
        await eventually(lambda: "n goes there" in text(pilot, "#tasks"))
        supervisor.change("t048", needs_input="Which one?")  # sorted to the top, too
        await eventually(lambda: "t005 needs input and 1 more:" in text(pilot, "#tasks"))
        assert text(pilot, "#tasks").splitlines()[-1].startswith("▌ t049")
        await pilot.press("n")
        await eventually(lambda: table.cursor == "t005")
        assert "TASK" in text(pilot, "#tasks").splitlines()[0]
        await pilot.press("slash", *"t04", "enter")
        await eventually(lambda: "◆ t005 needs input: Overwrite? [y/N]" in text(pilot, "#tasks"))
        await pilot.click("#tasks", offset=(20, 0))
        await eventually(lambda: table.cursor == "t005")


async def test_what_is_for_one_task_is_for_the_selected_one_whatever_is_marked() -> None:
    async with running(shop()) as pilot:
        table = fleet(pilot).table
        table.select("api")
        await pilot.press("space", "k", "k")
        assert (table.targets(), fleet(pilot).target()) == (["api"], table.cursor)
        await pilot.press("i")
        await eventually(lambda: f"typing into {table.cursor}" in text(pilot))


async def test_the_cursor_comes_back_to_its_task_when_nothing_was_shown() -> None:
    async with running(many(3)) as pilot:
        await pilot.press("j", "f")
        await eventually(lambda: "Nothing fails" in text(pilot, "#tasks"))
        await pilot.press("f")
        await eventually(lambda: fleet(pilot).table.cursor == "t001")


async def test_what_a_person_did_is_told_once_and_nothing_is_told_before_it_was_measured() -> None:
    supervisor = Supervisor(
        [
            task("web", "stopped", manual_stop=True, reason="stopped by ann", stopped_by="user:ann"),
            task("api", cpu_percent=0.0, rss_bytes=None),
        ]
    )
    async with running(supervisor, (120, 30)) as pilot:
        fleet(pilot).table.select("web")
        await eventually(lambda: "── web ■ stopped by ann ─" in text(pilot, "#log"))
        assert "0.0%" not in text(pilot, "#tasks")
        supervisor.change("api", rss_bytes=3 << 20)
        await eventually(lambda: "0.0%    3M" in text(pilot, "#tasks"))
