"""Reading a log: following, scrolling, searching all that is stored, filtering, copying."""

from __future__ import annotations

import re
import time

import pytest
from textual import events
from textual.pilot import Pilot

from paneview.control.errors import ControlError
from paneview.patterns import TOO_SLOW
from paneview.tui.logs.rule import named
from paneview.tui.logs.window import FLOOD_FRAME
from tests.harness import eventually
from tests.tui.running import fleet, running, settled, text, toasts
from tests.tui.scenes import access_log, shop
from tests.tui.scripted import NOW, Supervisor, task

COUNT = 20_000


def logging(lines: list[str] | None = None, **more: object) -> Supervisor:
    shown = [f"line {number}" for number in range(COUNT)] if lines is None else lines
    return Supervisor([task("api")], logs={"api": shown}, **more)


def rows(shown: str) -> list[str]:
    """The log's rows, without its rule and its scroll bar."""
    return [line.rstrip(" ▐") for line in shown.splitlines()[1:]]


async def test_only_what_is_shown_is_asked_for() -> None:
    supervisor = logging()
    async with running(supervisor) as pilot:
        assert rows(text(pilot, "#log"))[-1] == f"line {COUNT - 1}"
        assert sum(asked["count"] for asked in supervisor.requests("log_lines")) < 60


async def test_a_log_that_grows_is_followed() -> None:
    supervisor = logging()
    async with running(supervisor) as pilot:
        supervisor.write("api", "the newest")
        await eventually(lambda: rows(text(pilot, "#log"))[-1] == "the newest")
        assert "following" in text(pilot, "#log")


async def test_a_last_line_that_grows_is_shown_anew() -> None:
    supervisor = logging(["prompt: "])
    async with running(supervisor) as pilot:
        supervisor.logs["api"] = ["prompt: yes"]
        supervisor.write("api")
        await eventually(lambda: "prompt: yes" in text(pilot, "#log"))


@pytest.mark.parametrize("keys", [["f"], ["ampersand", *"job", "enter", "f"]])
async def test_a_last_line_that_grows_is_shown_anew_also_while_paused(keys: list[str]) -> None:
    supervisor = logging(["job 4 done", "job 5 "])
    async with running(supervisor) as pilot:
        await pilot.press("tab", *keys)
        await eventually(lambda: "paused" in text(pilot, "#log"))
        supervisor.logs["api"][-1] = "job 5 done"
        supervisor.write("api", *[f"job {number} done" for number in range(6, 100)])
        await eventually(lambda: "job 5 done" in text(pilot, "#log"))
        assert "paused, 94 new" in text(pilot, "#log")


async def test_a_paused_window_asks_for_nothing_while_the_log_grows() -> None:
    supervisor = logging()
    async with running(supervisor) as pilot:
        await pilot.press("tab", "pageup", "pageup", "pageup", "pageup", "pageup")
        await settled(pilot)
        supervisor.asked.clear()
        for number in range(20):
            supervisor.write("api", f"new {number}")
            await pilot.pause(0.002)
        await eventually(lambda: "paused, 20 new" in text(pilot, "#log"))
        assert not supervisor.requests("log_lines")


async def test_a_line_that_grew_while_another_task_was_looked_at_is_shown_as_it_is() -> None:
    supervisor = Supervisor([task("a"), task("b")], logs={"a": ["job 4 done", "job 5 "], "b": ["from b"]})
    async with running(supervisor) as pilot:
        await pilot.press("j")
        await eventually(lambda: "from b" in text(pilot, "#log"))
        supervisor.logs["a"][-1] = "job 5 done"
        supervisor.write("a", *[f"job {number} done" for number in range(6, 100)])
        await pilot.press("k", "tab")
        await eventually(lambda: "job 99 done" in text(pilot, "#log"))
        await pilot.press("g")
        await eventually(lambda: "job 5 done" in rows(text(pilot, "#log")))


async def test_a_line_that_grew_while_it_was_under_way_is_asked_for_again() -> None:
    supervisor = logging(["job 5 "])
    async with running(supervisor) as pilot:
        await pilot.press("tab", "f")
        supervisor.delay = 0.05
        supervisor.write("api")
        await pilot.pause(0.02)
        supervisor.delay = 0.0
        supervisor.logs["api"] = ["job 5 done"]
        supervisor.write("api")
        await eventually(lambda: "job 5 done" in text(pilot, "#log"))


async def test_a_flood_is_not_pulled_through() -> None:
    supervisor = logging()
    async with running(supervisor) as pilot:
        supervisor.asked.clear()
        began = time.monotonic()
        for number in range(100):
            supervisor.write("api", *[f"flood {number} {more}" for more in range(3000)])
            await pilot.pause(0.002)
        await eventually(lambda: "flood 99 2999" in text(pilot, "#log"))
        asked = supervisor.requests("log_lines")
        assert sum(request["count"] for request in asked) < 20 * len(asked)
        frames = (time.monotonic() - began) / FLOOD_FRAME
        assert len(asked) < 10 + 2 * frames


async def test_scrolling_pauses_and_the_end_follows_again() -> None:
    supervisor = logging()
    async with running(supervisor) as pilot:
        await pilot.press("tab", "k", "k")
        await settled(pilot)
        assert rows(text(pilot, "#log"))[-1] == f"line {COUNT - 3}"
        supervisor.write("api", "new 1", "new 2")
        await eventually(lambda: "paused, 2 new" in text(pilot, "#log"))
        assert rows(text(pilot, "#log"))[-1] == f"line {COUNT - 3}"
        await pilot.press("G")
        await eventually(lambda: rows(text(pilot, "#log"))[-1] == "new 2")
        assert "following" in text(pilot, "#log")


async def test_the_first_line_of_a_long_log_and_back_by_pages() -> None:
    async with running(logging()) as pilot:
        await pilot.press("tab", "g")
        await eventually(lambda: "line 0" in rows(text(pilot, "#log")))
        await pilot.press("pagedown")
        await settled(pilot)
        first = rows(text(pilot, "#log"))[0]
        await pilot.press("j", "k")
        await settled(pilot)
        assert rows(text(pilot, "#log"))[0] == first


async def test_a_paused_window_stays_while_another_task_is_looked_at() -> None:
    supervisor = Supervisor([task("a"), task("b")], logs={"a": [f"a{n}" for n in range(500)], "b": ["b0"]})
    async with running(supervisor) as pilot:
        await pilot.press("tab", "g")
        await settled(pilot)
        await pilot.press("escape", "j")
        await settled(pilot)
        assert "b0" in text(pilot, "#log")
        await pilot.press("k")
        await settled(pilot)
        assert "a0" in rows(text(pilot, "#log"))


async def test_search_finds_what_is_not_loaded_and_counts() -> None:
    supervisor = logging(access_log(COUNT))
    async with running(supervisor) as pilot:
        await pilot.press("tab", "slash", *"items/77 ", "enter")
        await eventually(lambda: "/api/items/77 " in text(pilot, "#log"))
        await eventually(lambda: "/items/77  1 of 1" in text(pilot, "#log"))
        assert "paused" in text(pilot, "#log")


async def search(pilot: Pilot[int], pattern: str) -> None:
    """In one piece: what is typed slowly is searched for before it is whole."""
    await pilot.press("slash")
    pilot.app.post_message(events.Paste(pattern))
    await pilot.press("enter")


async def test_a_search_from_the_end_goes_through_the_log_once() -> None:
    supervisor = logging([f"needle {number}" if number == 3 else f"hay {number}" for number in range(1000)])
    async with running(supervisor) as pilot:
        await pilot.press("tab")
        await search(pilot, "needle")
        await eventually(lambda: "1 of 1 " in text(pilot, "#log"))
        asked = [(one["start"], one["limit"]) for one in supervisor.requests("log_find")]
        assert [start for start, _ in asked] == [1000, 2]  # from the end to the hit, then on from it
        await pilot.press("n")
        await eventually(lambda: "1 of 1, from the newest again" in text(pilot, "#log"))
        assert len(supervisor.requests("log_find")) == 2  # all are known by now
        await pilot.press("escape", "G")
        await search(pilot, "nowhere")
        await eventually(lambda: "no match" in text(pilot, "#log"))
        assert len(supervisor.requests("log_find")) == 3


async def test_next_previous_and_the_wrap_around_is_told() -> None:
    lines = [f"needle {number}" if number in (3, 500, 900) else f"hay {number}" for number in range(1000)]
    async with running(logging(lines)) as pilot:
        await pilot.press("tab", "slash", *"needle", "enter")

        async def at(what: str, where: str) -> None:
            await eventually(lambda: what in text(pilot, "#log") and where in text(pilot, "#log"))

        await at("needle 900", "1 of 3")
        await pilot.press("n")
        await at("needle 500", "2 of 3")
        await pilot.press("n")
        await at("needle 3", "3 of 3")
        await pilot.press("n")
        await at("needle 900", "1 of 3, from the newest again")
        await pilot.press("N")
        await at("needle 3", "3 of 3, from the oldest again")
        await pilot.press("N")
        await at("needle 500", "2 of 3 ·")


async def test_search_works_from_the_table_too() -> None:
    async with running(logging([f"n{number}" for number in range(100)])) as pilot:
        await pilot.press("n")
        assert "Nothing needs a person" in toasts(pilot)[0]


async def test_search_is_tried_while_typed_and_escape_goes_back() -> None:
    async with running(logging()) as pilot:
        await pilot.press("tab", "slash", *"line 77")
        await eventually(lambda: "line 7799" in text(pilot, "#log"))
        await pilot.press("escape")
        await eventually(lambda: rows(text(pilot, "#log"))[-1] == f"line {COUNT - 1}")
        assert "following" in text(pilot, "#log")


async def test_the_keys_of_a_search_are_hinted_at_while_there_is_one() -> None:
    async with running(logging()) as pilot:
        await pilot.press("2")
        await eventually(lambda: "w wrap" in text(pilot, "#hints"))
        await search(pilot, "line 77")
        await eventually(lambda: "n older  N newer" in text(pilot, "#hints"))
        await pilot.press("escape")
        await eventually(lambda: "w wrap" in text(pilot, "#hints"))


async def test_a_wrong_pattern_is_told() -> None:
    async with running(logging()) as pilot:
        await pilot.press("tab", "slash", "(", "enter")
        await eventually(lambda: toasts(pilot))
        assert "not a regular expression" in toasts(pilot)[0]


@pytest.mark.parametrize("pattern", ["a{99999999999999999999}", "(" * 1500 + "a" + ")" * 1500])
async def test_a_pattern_that_cannot_be_is_told(pattern: str) -> None:
    async with running(logging()) as pilot:
        await pilot.press("tab")
        await search(pilot, pattern)
        await eventually(lambda: toasts(pilot))
        assert "not a regular expression" in toasts(pilot)[0]


async def test_a_pattern_without_an_end_takes_no_key_away() -> None:
    supervisor = logging(["a" * 44 + "!" for _ in range(COUNT)])
    supervisor.answers["log_find"] = {"hits": [7], "next": None}
    async with running(supervisor) as pilot:
        await pilot.press("tab", "slash", *"(a|a)+$", "enter")
        await eventually(lambda: ", too slow to be marked" in text(pilot, "#log"))
        supervisor.answers["log_find"] = ControlError(TOO_SLOW, "bad_request")
        await search(pilot, "(a|aa)+$")
        await eventually(lambda: TOO_SLOW[:40] in text(pilot, "#log"))
        await pilot.press("escape", "G")
        await eventually(lambda: "following" in text(pilot, "#log"))


async def test_a_search_that_finds_nothing_says_so() -> None:
    async with running(logging()) as pilot:
        await pilot.press("tab", "slash", *"zebra", "enter")
        await eventually(lambda: "/zebra no match" in text(pilot, "#log"))


async def test_smart_case_and_regular_expressions() -> None:
    supervisor = logging(["Error one", "error two", "ERROR 3"])
    async with running(supervisor) as pilot:
        await pilot.press("tab", "slash", *"error", "enter")
        await eventually(lambda: "of 3" in text(pilot, "#log"))
        await pilot.press("slash", *"Error", "enter")
        await eventually(lambda: "of 1" in text(pilot, "#log"))
        await pilot.press("slash", *"r \\d", "enter")
        await eventually(lambda: "/r \\d 1 of 1" in text(pilot, "#log"))


async def test_the_filter_shows_only_what_matches_also_what_comes_later() -> None:
    supervisor = logging(access_log(5000))
    async with running(supervisor) as pilot:
        await pilot.press("tab", "ampersand", *" 500 ", "enter")
        await eventually(lambda: "100 matches" in text(pilot, "#log"))
        shown = rows(text(pilot, "#log"))
        assert all(" 500 " in row for row in shown if row)
        supervisor.write("api", "an ok line", "GET /late 500 x")
        await eventually(lambda: "GET /late 500 x" in text(pilot, "#log"))
        assert "an ok line" not in text(pilot, "#log")
        await pilot.press("k", "g")
        await eventually(lambda: "/api/items/49 500" in text(pilot, "#log"))
        await pilot.press("escape")
        await eventually(lambda: "matches" not in text(pilot, "#log"))


@pytest.mark.parametrize("key", ["ampersand", "slash"])
async def test_a_line_that_grows_is_looked_at_again(key: str) -> None:
    supervisor = logging(["job 0 "])
    async with running(supervisor) as pilot:
        await pilot.press("tab", key, *"done", "enter")
        await eventually(lambda: "no match" in text(pilot, "#log"))
        supervisor.logs["api"] = ["job 0 done", "job 1 "]
        supervisor.write("api")
        await eventually(lambda: "1 matches" in text(pilot, "#log"))
        supervisor.logs["api"][-1] = "job 1 done"
        supervisor.write("api")  # which has as many lines as before
        await eventually(lambda: "2 matches" in text(pilot, "#log"))
        supervisor.logs["api"][-1] = "job 1 failed"
        supervisor.write("api", "job 2 done", "job 3 ")
        await eventually(lambda: rows(text(pilot, "#log"))[-1] != "job 1 done")
        await eventually(lambda: "2 matches" in text(pilot, "#log"))


async def test_all_of_a_burst_is_searched_also_what_comes_meanwhile() -> None:
    supervisor = logging(["begin"])
    async with running(supervisor) as pilot:
        await pilot.press("tab", "ampersand", *"line", "enter")
        await eventually(lambda: "no match" in text(pilot, "#log"))
        supervisor.delay = 0.05
        supervisor.write("api", *[f"line {number}" for number in range(5000)])
        await eventually(lambda: len(supervisor.requests("log_find")) > 2)
        supervisor.write("api", "line 5000")
        await eventually(lambda: "5,001 matches" in text(pilot, "#log"))
        await eventually(lambda: rows(text(pilot, "#log"))[-1] == "line 5000")


async def test_hits_go_with_the_lines_that_are_given_up() -> None:
    supervisor = logging(access_log(5000))
    async with running(supervisor) as pilot:
        await pilot.press("tab", "ampersand", *" 500 ", "enter")
        await eventually(lambda: "100 matches" in text(pilot, "#log"))
        supervisor.first = 4000
        supervisor.write("api", "GET /late 500 x")
        await eventually(lambda: "21 matches" in text(pilot, "#log"))
        assert "1,001 lines" in text(pilot, "#log")
        await pilot.press("k")
        supervisor.first = 4900
        await pilot.press("g")
        await eventually(lambda: "3 matches" in text(pilot, "#log"))
        await settled(pilot)
        assert "·" not in rows(text(pilot, "#log"))
        supervisor.asked.clear()
        await pilot.pause(0.1)
        assert not supervisor.requests("log_lines")


async def test_long_lines_wrap_and_scroll_sideways() -> None:
    async with running(logging(["x" * 200 + "end", "日本" * 50])) as pilot:
        await pilot.press("tab")
        assert "end" not in text(pilot, "#log").splitlines()[2]
        await pilot.press("w")
        assert "xend" in text(pilot, "#log")
        assert "".join(rows(text(pilot, "#log"))).count("日本") == 50
        await pilot.press("w", *["right"] * 16)
        assert "xend" in text(pilot, "#log")


async def test_times_since_the_start_and_by_the_clock() -> None:
    async with running(logging(["one", "two"])) as pilot:
        await pilot.press("T")
        assert re.search(r"\+55\.20s +two", text(pilot, "#log"))
        await pilot.press("T")
        assert re.search(r"07:48:21\.000 two", text(pilot, "#log"))
        await pilot.press("T")
        assert "07:48:21" not in text(pilot, "#log")


async def test_runs_are_told_apart_and_jumped_between() -> None:
    marks = [
        {
            "run": at + 1,
            "first": at * 100,
            "end": at * 100 + 100,
            "started_at": NOW - 500,
            "ended_at": NOW - 400,
        }
        | {"exit_code": at}
        for at in range(3)
    ]
    supervisor = logging([f"line {number}" for number in range(300)], runs={"api": marks})
    async with running(supervisor) as pilot:
        assert "run 3 ended with 2" in text(pilot, "#log")
        await pilot.press("left_square_bracket")
        await settled(pilot)
        assert rows(text(pilot, "#log"))[0].startswith("── run 3 · 07:51:40 · run 2 ended with 1")
        await pilot.press("left_square_bracket", "left_square_bracket")
        await settled(pilot)
        assert rows(text(pilot, "#log"))[1] == "line 0"
        await pilot.press("right_square_bracket")
        await settled(pilot)
        assert rows(text(pilot, "#log"))[1] == "line 100"


async def test_a_run_that_writes_its_first_line_late_has_its_own_rule() -> None:
    """Its lines stood under the run before, above the words that it has ended."""
    ended = {"run": 1, "first": 0, "end": 2, "started_at": NOW - 500, "ended_at": NOW - 400, "exit_code": 1}
    supervisor = logging(["old", "older"], runs={"api": [ended]})
    async with running(supervisor) as pilot:
        assert "run 1 ended with 1" in text(pilot, "#log")
        asked = len(supervisor.requests("log_info"))
        supervisor.change("api", run=2)
        await eventually(lambda: len(supervisor.requests("log_info")) > asked)
        await settled(pilot)
        supervisor.runs["api"].append(
            {"run": 2, "first": 2, "end": 3, "started_at": NOW - 3, "ended_at": None}
        )
        supervisor.write("api", "new")
        await eventually(lambda: "new" in text(pilot, "#log"))
        await eventually(lambda: "── run 2 · " in text(pilot, "#log"))
        shown = [row for row in rows(text(pilot, "#log")) if row]
        assert shown[-2].startswith("── run 2 · ")
        assert shown[-1] == "new"


async def test_copy_says_what_it_did() -> None:
    async with running(logging(["\x1b[31mred\x1b[0m", "two", "three"])) as pilot:
        await pilot.press("tab", "v", "k", "y")
        await eventually(lambda: toasts(pilot) == ["2 lines copied by the terminal (OSC 52)"])
        assert pilot.app.clipboard == "two\nthree"
        await pilot.press("y")
        await eventually(lambda: pilot.app.clipboard == "red\ntwo\nthree")


async def test_what_the_filter_hides_is_neither_selected_nor_copied() -> None:
    lines = [f"{'error' if number % 7 == 0 else 'fine'} {number}" for number in range(200)]
    async with running(logging(lines)) as pilot:
        await pilot.press("tab", "ampersand", *"error", "enter")
        await eventually(lambda: "29 matches" in text(pilot, "#log"))
        await settled(pilot)
        await pilot.press("v", "k", "k", "y")
        await eventually(lambda: pilot.app.clipboard == "error 182\nerror 189\nerror 196")


async def test_dragging_over_lines_copies_them() -> None:
    async with running(logging([f"line {number}" for number in range(8)])) as pilot:
        await pilot.mouse_down("#log", offset=(2, 3))
        await pilot.hover("#log", offset=(2, 4))
        await pilot.hover("#log", offset=(2, 5))
        await pilot.mouse_up("#log", offset=(2, 5))
        await eventually(lambda: pilot.app.clipboard == "line 1\nline 2\nline 3")


async def test_save_writes_clean_text(tmp_path: object, monkeypatch: object) -> None:
    monkeypatch.chdir(tmp_path)
    supervisor = logging(["\x1b[31mred\x1b[0m", *[f"line {number}" for number in range(3000)]])
    async with running(supervisor) as pilot:
        supervisor.delay = 0.05
        monkeypatch.setattr("time.strftime", lambda *_: "now")
        await pilot.press("tab", "S", "S", "3")  # twice in one second, and away
        await eventually(lambda: len(toasts(pilot)) == 2)
        (saved,) = tmp_path.iterdir()
        assert saved.read_text().splitlines()[:2] == ["red", "line 0"]
        assert len(saved.read_text().splitlines()) == 3001


async def test_the_wheel_and_the_bar() -> None:
    async with running(logging()) as pilot:
        await pilot._post_mouse_events(
            [__import__("textual.events").events.MouseScrollUp], "#log", offset=(5, 5)
        )
        await settled(pilot)
        assert rows(text(pilot, "#log"))[-1] == f"line {COUNT - 4}"
        width = fleet(pilot).log_view.size.width
        await pilot.mouse_down("#log", offset=(width - 1, 1))
        await pilot.mouse_up("#log", offset=(width - 1, 1))
        await eventually(lambda: "line 0" in rows(text(pilot, "#log")))


async def test_a_log_that_cannot_be_read_says_why_and_does_not_ask_again_and_again() -> None:
    supervisor = logging()
    supervisor.answers["log_info"] = ControlError("the log is being repaired", "failed")
    async with running(supervisor) as pilot:
        assert "the log is being repaired" in text(pilot, "#log")
        await pilot.pause(0.2)
        assert len(supervisor.requests("log_info")) < 5
        del supervisor.answers["log_info"]
        supervisor.write("api", "it is back")
        await eventually(lambda: "it is back" in text(pilot, "#log"))


async def test_old_lines_that_are_given_up_leave_the_window_on_what_there_is() -> None:
    supervisor = logging()
    async with running(supervisor) as pilot:
        await pilot.press("tab", "g")
        await settled(pilot)
        supervisor.first = 15_000
        fleet(pilot).log_view.state.feed._lines.clear()
        supervisor.change("api", run=2)
        await pilot.press("j")
        await eventually(lambda: "line 15001" in text(pilot, "#log"))
        await pilot.pause(0.1)
        assert len(supervisor.requests("log_lines")) < 40


async def test_the_full_log_and_the_next_task_in_it() -> None:
    supervisor = Supervisor([task("a"), task("b")], logs={"a": ["from a"], "b": ["from b"]})
    async with running(supervisor) as pilot:
        await pilot.press("enter")
        await eventually(lambda: "from a" in text(pilot))
        assert " logs " in text(pilot, "#header")
        await pilot.press("right_curly_bracket")
        await eventually(lambda: "from b" in text(pilot))
        await pilot.press("x")
        await eventually(lambda: supervisor.requests("stop") == [{"tasks": ["b"]}])
        await pilot.press("escape")
        await pilot.pause()
        assert " fleet " in text(pilot, "#header")
        assert fleet(pilot).table.cursor == "b"


async def test_a_hidden_log_asks_for_nothing() -> None:
    supervisor = logging()
    async with running(supervisor) as pilot:
        await pilot.press("5")
        await pilot.pause(0.1)
        supervisor.asked.clear()
        supervisor.write("api", "unseen")
        await pilot.pause(0.2)
        assert not supervisor.asked
        await pilot.press("1")
        await eventually(lambda: "unseen" in text(pilot, "#log"))


@pytest.mark.parametrize(
    ("names", "room", "shown"),
    [
        (["web"], 3, "web"),
        (["web", "api"], 9, "web + api"),
        (["web", "api", "mailer-of-bills"], 17, "web + 2 more"),
        (["web", "api", "mailer-of-bills"], 18, "web + api + 1 more"),
        (["a-long-name-of-a-task"], 12, "a-long-name…"),
        (["a-long-name", "api", "db"], 14, "a-lo… + 2 more"),
        (["日本語-名前"], 8, "日本語-…"),
        (["日本語-名前", *"abcdefghijkl"], 13, "日… + 12 more"),
    ],
)
def test_names_in_so_many_cells(names: list[str], room: int, shown: str) -> None:
    assert named(names, room) == shown


async def top_rule(pilot: Pilot[int], *parts: str) -> str:
    try:
        await eventually(lambda: all(part in text(pilot, "#log").splitlines()[0] for part in parts), 5)
    except AssertionError:
        raise AssertionError(f"not shown: {parts}\n{text(pilot, '#log')}") from None
    return text(pilot, "#log").splitlines()[0]


@pytest.mark.parametrize("width", [80, 120])
async def test_many_names_leave_room_for_where_the_log_stands(width: int) -> None:
    names = [f"a-service-called-{n}" for n in range(6)]
    supervisor = Supervisor([task(name) for name in names], logs={name: access_log(100) for name in names})
    async with running(supervisor, (width, 24)) as pilot:
        pilot.app.merge(names)
        await settled(pilot)
        await top_rule(pilot, "── a-service-called-0 + ", " more ", "▼ following")
        await pilot.press("k")
        await top_rule(pilot, " more ", "‖ paused")
        await pilot.press("ampersand", *"items", "enter")
        await top_rule(pilot, " more ", "&items", "▼ following")


@pytest.mark.parametrize("width", [80, 120])
async def test_long_words_leave_room_for_each_other_above_the_log(width: int) -> None:
    name, sought = "a-service-with-a-very-long-name-that-goes-on-and-on", "items.*(200|500).*ms.*or.something"
    supervisor = Supervisor([task(name)], logs={name: access_log(100)})
    async with running(supervisor, (width, 24)) as pilot:
        await pilot.press("2", "k")
        await top_rule(pilot, "── a-service", "‖ paused")
        await search(pilot, sought)
        await top_rule(pilot, "── a-service", "/item", "no match ·", "‖ paused")
        await pilot.press("ampersand")
        pilot.app.post_message(events.Paste(f"{sought}|GET"))
        await pilot.press("enter")
        await top_rule(
            pilot, "── a-service-", "… ", "&item", " matches ·", "/item", "no match ·", "▼ following"
        )


async def test_a_log_is_whole_after_the_terminal_has_grown() -> None:
    """The smaller log on the screen below asks for its own lines at the same time."""
    async with running(shop(), size=(40, 10)) as pilot:
        await pilot.press("j", "2")
        await settled(pilot)
        for size in ((80, 24), (120, 40)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
        await eventually(lambda: "refused[/b] 23 " in text(pilot))
        assert "·" not in text(pilot).splitlines()
