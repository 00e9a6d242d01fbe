"""States, durations and sizes as people read them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from paneview.control.model import EventView, TaskView
from paneview.tui import words
from paneview.tui.happenings import happening
from paneview.tui.picture import Picture
from paneview.tui.tasks.why import why
from tests.tui.scenes import shop
from tests.tui.scripted import NOW, event, task


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (599, "9m59s"),
        (600, "10m"),
        (3600, "1h00m"),
        (12000, "3h20m"),
        (86400, "1d00h"),
        (9e6, "104d"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text
    assert len(text) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59.9, "59s"), (60, "1m"), (599, "9m"), (600, "10m"), (3661, "1h01m"), (9e6, "104d")],
)
def test_uptimes_pass_in_minutes(seconds: float, text: str) -> None:
    assert words.age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0K"), (2048, "2K"), (48 << 20, "48M"), (1300 << 20, "1.3G"), (30 << 30, "30G"), (5 << 40, "5.0T")],
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert words.size(count) == text


def test_every_state_has_glyph_and_word_and_an_unknown_one_shows_too() -> None:
    states = ["idle", "waiting", "starting", "running", "stopping", "backoff", "done", "failed", "stopped"]
    looks = [words.look(TaskView("a", state=state)) for state in states]
    assert len({look.word for look in looks}) == len(states)
    assert len({look.glyph for look in looks}) == len(states)
    assert words.look(TaskView("a", state="frozen\x1b[2J")).word == "frozen\\x1b[2J"


def test_health_of_what_runs_is_its_state() -> None:
    shown = [
        words.look(TaskView("a", state="running", health=health)).word
        for health in ("healthy", "unhealthy", "starting")
    ]
    assert shown == ["healthy", "unhealthy", "not ready"]


def test_backoff_tells_the_seconds_left() -> None:
    assert words.state_text(TaskView("a", state="backoff", next_start_at=104.2), 100) == "↻ retry 4s"
    assert words.state_text(TaskView("a", state="backoff", next_start_at=90), 100) == "↻ retry 0s"


def test_a_signal_is_told_by_its_name() -> None:
    assert words.exit_text(TaskView("a", signal=9)) == "KILL"
    assert words.exit_text(TaskView("a", signal=99)) == "SIG99"
    assert words.exit_text(TaskView("a", exit_code=3)) == "3"


def picture() -> Picture:
    filled = Picture(lambda: NOW)
    supervisor = shop()
    supervisor.make(filled.take, lambda _: None)
    supervisor._snapshot()
    return filled


def test_why_it_waits_for_a_task_whose_probe_fails() -> None:
    known = picture()
    failing = {"health": "starting", "ready": False, "cause": "connection refused"}
    facts = {"probe_failures": 14, "next_probe_at": NOW + 0.44}
    known.tasks["db"] = TaskView.from_json(task("db", **failing, **facts))
    held = [{"task": "db", "why": "is not ready"}, {"task": "gone", "why": "is stopped"}]
    known.tasks["api"] = TaskView.from_json(task("api", "waiting", waits_for=held))
    assert why(known.tasks["db"], known) == (
        "db runs for 12m but is not ready yet, its probe failed 14 times: connection refused; next in 0.4 s."
    )
    assert why(known.tasks["api"], known) == (
        "api waits: db is not ready, its probe failed 14 times, next in 0.4 s; gone is stopped."
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("api", "api runs for 12m and is healthy."),
        ("web", "web runs for 12m but is unhealthy, after 2 restarts: health check failed 3 of 3: connection refused on port 3000."),  # noqa: E501
        ("worker", "worker is started again in 4s (restart 3 of at most 5): exit code 1."),
        ("mailer", "mailer waits: web is not ready (connection refused on port 3000)."),
        ("importer", "importer stays down: gave up after 5 restarts."),
        ("shell", "shell has not been started yet; it is started by hand only (s)."),
        ("prepare", "prepare is done: it ended with 0 after 2s."),
    ],
)  # fmt: skip
def test_why(name: str, sentence: str) -> None:
    known = picture()
    assert why(known.tasks[name], known) == sentence


def test_why_tells_when_a_schedule_starts_it() -> None:
    known = picture()
    known.tasks["prepare"] = replace(known.tasks["prepare"], next_start_at=NOW + 3600)
    known.tasks["shell"] = replace(known.tasks["shell"], next_start_at=NOW + 3 * 86400)
    soon, late = time.localtime(NOW + 3600), time.localtime(NOW + 3 * 86400)
    assert why(known.tasks["prepare"], known) == (
        f"prepare is done: it ended with 0 after 2s; its schedule starts it at {time.strftime('%H:%M', soon)}."
    )
    assert why(known.tasks["shell"], known) == (
        f"shell has not been started yet; its schedule starts it at {time.strftime('%Y-%m-%d %H:%M', late)}."
    )


def test_why_a_worker_that_is_brought_back_without_a_limit() -> None:
    known = picture()
    known.tasks["worker"] = replace(known.tasks["worker"], max_restarts=None)
    assert why(known.tasks["worker"], known) == "worker is started again in 4s (restart 3): exit code 1."


def test_dependents_are_found_through_others() -> None:
    assert picture().dependents("db") == ["api", "web", "worker", "mailer"]


def test_an_event_reads_as_a_sentence() -> None:
    told = happening(
        EventView.from_json(event(1, "task_exited", "api", detail={"exit_code": 3}, cause="exit code 3"))
    )
    assert (told.glyph, told.role, told.subject, told.text) == (
        "✗",
        "failed",
        "api",
        "exited with 3",
    )
    quiet = happening(EventView.from_json(event(1, "task_exited", "api", detail={"exit_code": 0})))
    assert (quiet.glyph, quiet.role) == ("✓", "ok")


def test_an_event_tells_a_person_from_what_happened_by_itself() -> None:
    by_hand = happening(EventView.from_json(event(1, "task_stopped", "api", actor="user:ann", cause="asked")))
    assert (by_hand.by, by_hand.text) == ("ann", "stopped")
    hard = EventView.from_json(event(1, "task_stopped", "api", detail={"exit_code": 0, "needed": "SIGKILL"}))
    assert happening(hard).text == "stopped with 0 · needed SIGKILL"
    of_itself = EventView.from_json(
        event(1, "task_started", "api", actor="supervisor", cause="started by supervisor")
    )
    assert (happening(of_itself).by, happening(of_itself).text) == ("", "started")


@pytest.mark.parametrize("actor", ["supervisor", "user:cli"])
def test_why_a_file_was_refused_is_told_to_the_letter_and_first(actor: str) -> None:
    why = "/home/ann/my_shop/paneview.toml:20:1: unknown key 'restart_polic' in task 'web'"
    detail = {"file": "/home/ann/my_shop/paneview.toml"}
    told = happening(EventView.from_json(event(1, "config_rejected", detail=detail, cause=why, actor=actor)))
    assert (
        told.text
        == "file refused, nothing changed · paneview.toml:20:1: unknown key 'restart_polic' in task 'web'"
    )
    assert told.by == actor.partition("user:")[2]


def test_an_unknown_event_shows_its_kind_and_nothing_in_it_is_acted_on() -> None:
    told = happening(
        EventView.from_json(event(1, "moon_landed", "a\x1b[2Jb", detail={"reason": "\x1b]0;x\x07"}))
    )
    assert told.text == "moon landed · \\x1b]0;x\\x07"
    assert told.subject == "a\\x1b[2Jb"


def test_a_task_object_of_a_test_is_what_the_supervisor_sends() -> None:
    assert TaskView.from_json(task("a")).running


def test_a_moment_of_another_day_has_its_date() -> None:
    assert words.dated(NOW - 5, NOW) == time.strftime("%H:%M:%S", time.localtime(NOW - 5))
    assert words.dated(NOW - 3 * 86400, NOW).startswith(
        time.strftime("%Y-%m-", time.localtime(NOW - 3 * 86400))
    )
