"""The queue's screens: what they show, and what each key asks of the supervisor."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from paneview.control.errors import ControlError
from paneview.control.queuemodel import QueueView
from paneview.tui.screens import aim
from paneview.tui.screens.dispatch import DispatchForm, kinds, read_payload, targets
from paneview.tui.screens.job import JobScreen
from paneview.tui.screens.queue import QueueScreen
from paneview.tui.widgets.columns import Column, fitting
from tests.harness import eventually
from tests.tui.queue_scenes import QueueSupervisor, job, office, worker
from tests.tui.running import running, text, toasts
from tests.tui.scripted import Supervisor, task

RULE = "#jobs-rule"


async def opened(pilot: Pilot[int], part: str = "Review change 19") -> QueueScreen:
    """The queue's screen with its jobs."""
    await pilot.press("3")
    await shows(pilot, part)
    screen = pilot.app.screen
    assert isinstance(screen, QueueScreen)
    return screen


async def shows(pilot: Pilot[int], *parts: str, where: str | None = None) -> str:
    try:
        await eventually(lambda: all(part in text(pilot, where) for part in parts))
    except AssertionError:
        raise AssertionError(f"not shown: {parts}\n{text(pilot, where)}") from None
    return text(pilot, where)


async def test_targets_workers_and_jobs_are_shown() -> None:
    async with running(office(), (120, 40)) as pilot:
        screen = await opened(pilot)
        lanes = text(pilot, "#lanes").splitlines()
        assert lanes[1].split() == ["▌", "all", "13", "1", "1", "1", "9m53s"]
        assert lanes[2].split() == ["role:reviewer", "12", "1", "0", "1", "9m52s"]
        crew = text(pilot, "#workers").splitlines()
        assert "✗ quarantined" in crew[1]
        assert "5 respawns in 300 s: exit code 1" in crew[1]
        assert [line.split()[1:3] for line in crew[2:5]] == [["▲", "silent"], ["◐", "busy"], ["●", "idle"]]
        assert "prompt Review change 3" in crew[3]
        assert "3 alive ✗ 1 quarantined" in text(pilot, "#workers-rule")
        jobs = text(pilot, "#jobs")
        for part in ("✗ dead", "○ queued", "● running", "◔ delayed", "in 4m00s", "✓ done", "■ cancelled"):
            assert part in jobs
        assert screen.table.keys[0] == "1800000020_abcdef000020"


async def test_changes_come_by_themselves_and_only_then_is_asked() -> None:
    supervisor = office()
    async with running(supervisor, (120, 40)) as pilot:
        await opened(pilot)
        asked = len(supervisor.requests("jobs"))
        supervisor.workers[3]["jobs"] = [job(19)["id"]]
        supervisor.put(job(21, what="a new one"), job(19, "leased"))
        await shows(pilot, "a new one", "prompt Review change 19")
        await eventually(lambda: text(pilot, "#jobs").count("● running") == 2)
        assert len(supervisor.requests("jobs")) == asked + 1
        await pilot.press("escape")
        await eventually(lambda: "queue" not in supervisor.topics)
        supervisor.put(job(22))
        await pilot.pause(0.1)
        assert len(supervisor.requests("jobs")) == asked + 1


async def test_a_target_narrows_the_jobs_and_f_the_states() -> None:
    supervisor = office()
    async with running(supervisor, (100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("tab", "j", "j")
        await shows(pilot, "jobs for any", where=RULE)
        await eventually(lambda: [one["what"] for one in _shown(pilot)] == ["", "Review change 6"])
        await pilot.press("enter", "f", "f", "f")
        await shows(pilot, "for any dead", where=RULE)
        await eventually(lambda: [one["id"] for one in _shown(pilot)] == [job(20)["id"]])
        await pilot.press("f")
        await shows(pilot, "No job is done. f shows others")
        await pilot.press("escape")
        await eventually(lambda: len(_shown(pilot)) == 2)


def _shown(pilot: Pilot[int]) -> list[dict[str, str]]:
    screen = pilot.app.screen
    assert isinstance(screen, QueueScreen)
    jobs = screen.table.jobs
    return [{"id": key, "what": jobs[key].what} for key in screen.table.keys]


async def test_a_regular_expression_filters() -> None:
    async with running(office(), (100, 30)) as pilot:
        screen = await opened(pilot)
        await pilot.press("slash", *"resize", "enter")
        await shows(pilot, "/resize", where=RULE)
        assert [screen.table.jobs[key].kind for key in screen.table.keys] == ["resize"]
        await pilot.press("escape")
        await eventually(lambda: len(screen.table.keys) == 20)


async def test_one_job_whole_and_its_changes() -> None:
    supervisor = office()
    async with running(supervisor) as pilot:
        screen = await opened(pilot)
        screen.table.select(job(2)["id"])
        await pilot.press("enter")
        shown = await shows(pilot, "3 of 3, 300 s each", "failed attempts", "2. 07:58:30 reviewer.1")
        assert '"text": "Review change 2"' in shown
        assert shown.count("claude: not logged in") >= 2
        assert isinstance(pilot.app.screen, JobScreen)
        await pilot.press("r")
        await eventually(lambda: supervisor.requests("job_retry") == [{"jobs": [job(2)["id"]]}])
        await shows(pilot, "○ queued")
        await pilot.press("r")
        await eventually(lambda: "retry: only dead letters can be retried" in toasts(pilot))
        await pilot.press("escape")
        assert pilot.app.screen is screen


async def test_a_result_is_scrolled_to_its_end() -> None:
    supervisor = office()
    done = {**supervisor.jobs[job(1)["id"]]["result"], "output": "\n".join(f"line {n}" for n in range(500))}
    supervisor.jobs[job(1)["id"]]["result"] = done
    async with running(supervisor) as pilot:
        screen = await opened(pilot)
        screen.table.select(job(1)["id"])
        await pilot.press("enter")
        await shows(pilot, "result: ok by reviewer.1 on laptop")
        await pilot.press("G")
        await shows(pilot, "line 499")
        await pilot.press("g")
        await shows(pilot, "kind", "submitted")


async def test_cancelling_and_purging_ask_first_with_no_as_default() -> None:
    supervisor = office()
    async with running(supervisor, (100, 30)) as pilot:
        screen = await opened(pilot)
        screen.table.select(job(3)["id"])
        await pilot.press("c")
        box = await shows(pilot, f"Cancel prompt {job(3)['id']}?", "▌ n No", where="#box")
        assert "prompt for role:reviewer, running 1m35s: Review change 3" in box
        assert "One that runs is told to end" in box
        await pilot.press("enter")
        await pilot.pause()
        assert not supervisor.requests("job_cancel")
        await pilot.press("c", "y")
        await eventually(lambda: supervisor.requests("job_cancel") == [{"jobs": [job(3)["id"]]}])
        await eventually(lambda: f"{job(3)['id']} cancelled" in toasts(pilot))
        await pilot.press("p")
        await eventually(lambda: any(one.startswith("purge: only dead letters") for one in toasts(pilot)))


async def test_one_question_for_all_that_are_marked() -> None:
    supervisor = office()
    async with running(supervisor, (100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("f", "f", "f")
        await eventually(lambda: len(_shown(pilot)) == 2)
        await pilot.press("asterisk", "p")
        await shows(pilot, "Purge 2 jobs?", "Payload and errors are forgotten for good.", where="#box")
        await pilot.press("y")
        await eventually(
            lambda: supervisor.requests("job_purge") == [{"jobs": [job(20)["id"], job(2)["id"]]}]
        )
        await shows(pilot, "No job is dead. f shows others")


async def test_marked_jobs_that_the_filter_hides_are_left_alone_and_told() -> None:
    supervisor = office()
    first, second = job(20)["id"], job(2)["id"]
    async with running(supervisor, (100, 30)) as pilot:
        screen = await opened(pilot)
        await pilot.press("f", "f", "f")
        await eventually(lambda: len(_shown(pilot)) == 2)
        screen.table.select(first)
        await pilot.press("space")
        await shows(pilot, "1 marked", where=RULE)
        await pilot.press("slash", *"0002_", "enter")
        await shows(pilot, "1 marked, 1 hidden", where=RULE)
        await pilot.press("r")
        await eventually(lambda: supervisor.requests("job_retry") == [{"jobs": [second]}])
        await pilot.press("slash", "ctrl+u", "enter")
        await eventually(lambda: [one["id"] for one in _shown(pilot)] == [first])
        assert screen.table.marked == {first}


async def test_a_key_is_not_for_the_job_that_has_just_taken_the_place_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aim, "MOMENT", 60.0)
    supervisor = office()
    async with running(supervisor, (100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("f", "f", "f")
        await eventually(lambda: len(_shown(pilot)) == 2)
        supervisor.put({**supervisor.jobs[job(20)["id"]], "state": "queued"})
        await eventually(lambda: [one["id"] for one in _shown(pilot)] == [job(2)["id"]])
        await pilot.press("r", "p")
        await eventually(lambda: sum("has just been selected" in one for one in toasts(pilot)) == 2)
        assert not supervisor.requests("job_retry")
        assert pilot.app.screen.query("#jobs")
        monkeypatch.setattr(aim, "MOMENT", 0.0)
        await pilot.press("r")
        await eventually(lambda: supervisor.requests("job_retry") == [{"jobs": [job(2)["id"]]}])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            {"results": [{"ok": True, "action": "requested"}, {"ok": True, "action": "cancelled"}]},
            "2 jobs cancelled; 1 of them once its worker has ended it",
        ),
        (
            ControlError("j1 was over", "failed", results=[{"ok": False}, {"ok": True}]),
            "cancel: j1 was over; 1 other job cancelled",
        ),
    ],
)
async def test_what_came_of_several_jobs_is_told_as_it_is(
    answer: dict[str, Any] | ControlError, told: str
) -> None:
    supervisor = office()
    supervisor.answers["job_cancel"] = answer
    async with running(supervisor, (100, 30)) as pilot:
        screen = await opened(pilot)
        screen.table.marked = {job(3)["id"], job(19)["id"]}
        await pilot.press("c", "y")
        await eventually(lambda: told in toasts(pilot))


async def test_refusals_are_told() -> None:
    supervisor = office()
    supervisor.answers["job_retry"] = ControlError("Redis at h does not answer", "queue")
    async with running(supervisor) as pilot:
        await opened(pilot)
        await pilot.press("r")
        await eventually(lambda: "retry: Redis at h does not answer" in toasts(pilot))


async def test_workers_are_released_and_act_as_tasks() -> None:
    supervisor = office()
    async with running(supervisor, (100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("U")
        await eventually(lambda: supervisor.requests("unquarantine") == [{"names": ["reviewer.2"]}])
        await eventually(lambda: "reviewer.2 is released" in toasts(pilot))
        await pilot.press("tab", "tab", "r")
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["reviewer.2"]}])
        await pilot.press("U")
        await eventually(lambda: "nobody is quarantined" in toasts(pilot))


async def test_keys_for_tasks_never_act_on_another_worker_than_the_selected_one() -> None:
    supervisor = office()
    supervisor.workers[2] |= {"name": "web", "host": "pi-1"}  # there is a task of that name here
    async with running(supervisor, (100, 30)) as pilot:
        await opened(pilot)
        await pilot.press("tab", "tab", "j", "r", "x")
        assert "▌ web" in text(pilot, "#workers")
        assert not supervisor.requests("restart")
        assert not supervisor.requests("stop")
        await pilot.press("k")
        supervisor.workers[1] |= {"id": "w9", "alive": True, "quarantined": False, "heartbeat_age_s": 0.1}
        supervisor.about["quarantined"] = {}
        supervisor.changed()
        await eventually(lambda: "✗ quarantined" not in text(pilot, "#workers"))
        await pilot.press("r")
        await eventually(lambda: supervisor.requests("restart") == [{"tasks": ["reviewer.2"]}])


async def test_one_that_never_registered_is_shown_and_released() -> None:
    supervisor = QueueSupervisor([], [], quarantined={"broken": {"reason": "1 respawn in 300 s"}})
    async with running(supervisor) as pilot:
        await opened(pilot, "No jobs yet. d dispatches one")
        assert "broken         ✗ quarantined" in text(pilot, "#workers")
        await pilot.press("U")
        await eventually(lambda: supervisor.requests("unquarantine") == [{"names": ["broken"]}])


async def test_a_queue_that_is_away_is_told_and_what_was_known_stays() -> None:
    supervisor = office()
    async with running(supervisor) as pilot:
        await opened(pilot)
        asked = len(supervisor.requests("jobs"))
        supervisor.about["problem"] = "Redis at h:1 does not answer: refused"
        supervisor.changed()
        await shows(
            pilot, "✗ the queue cannot be reached: Redis at h:1 does not answer: refused", "Review change 19"
        )
        assert len(supervisor.requests("jobs")) == asked
        supervisor.about["problem"] = None
        supervisor.put(job(30, what="after all"))
        await shows(pilot, "after all")
        assert "is away" not in text(pilot)


async def test_a_lost_supervisor_costs_nothing() -> None:
    supervisor = office()
    async with running(supervisor) as pilot:
        await opened(pilot)
        supervisor.go()
        await shows(pilot, "disconnected", "Review change 19")
        supervisor.jobs |= {job(31)["id"]: job(31, what="meanwhile")}
        supervisor.changes += 1
        supervisor.come_back()
        await pilot.pause()
        supervisor.changed()
        await shows(pilot, "meanwhile")


async def test_where_one_pane_fits_tab_shows_the_next() -> None:
    async with running(office(), (50, 15)) as pilot:
        await opened(pilot, "9m41s Review")
        assert "QUEUED" not in text(pilot)
        await pilot.press("tab")
        await shows(pilot, "QUEUED")
        assert "9m41s Review" not in text(pilot)
        await pilot.press("tab")
        await shows(pilot, "✗ quarantined")


async def test_dispatching_from_the_fleet() -> None:
    supervisor = office()
    async with running(supervisor) as pilot:
        await pilot.press("d")
        await shows(pilot, "target   reviewer.2")
        await pilot.press("delete")
        await shows(pilot, "any  %17  reviewer.1  worker")
        await pilot.press(*"role:re", "tab")
        field = pilot.app.screen.query_one("#form-target")
        assert field.value == "role:resizer"  # type: ignore[attr-defined]
        await pilot.press("tab", *"res", "tab", "tab", *'{"width":')
        await shows(pilot, "the payload is not JSON: Expecting value, column 10")
        await pilot.press("enter")
        await shows(pilot, "✗ the payload is not JSON")
        assert not supervisor.requests("job_dispatch")
        await pilot.press(*" 3}", "enter")
        wanted = {"target": "role:resizer", "kind": "resize", "payload": {"width": 3}}
        await eventually(lambda: supervisor.requests("job_dispatch") == [wanted])
        await eventually(lambda: any(one.endswith("resize for role:resizer") for one in toasts(pilot)))
        assert not isinstance(pilot.app.screen, DispatchForm)


async def test_a_prompt_is_typed_as_it_is_and_enter_leads_through() -> None:
    supervisor = office()
    async with running(supervisor) as pilot:
        await opened(pilot)
        await pilot.press("tab", "j", "d")
        await shows(pilot, "Dispatch a job")
        await pilot.press("enter", "enter")
        pilot.app.post_message(events.Paste("\nping\n  and\n\ntell \n"))
        await pilot.press("enter")
        wanted = {"target": "role:reviewer", "kind": "prompt", "payload": {"text": "ping and tell"}}
        await eventually(lambda: supervisor.requests("job_dispatch") == [wanted])
        await shows(pilot, "QUEUED")


async def test_what_the_queue_refuses_stays_in_the_form() -> None:
    supervisor = office()
    supervisor.answers["job_dispatch"] = ControlError("role:x is full: 100 jobs wait", "queue")
    async with running(supervisor) as pilot:
        await pilot.press("colon", *"dispatch role:x ping", "enter")
        await shows(pilot, "Dispatch a job")
        await pilot.press("enter")
        await shows(pilot, "✗ role:x is full: 100 jobs wait")
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, DispatchForm)


async def test_what_is_refused_is_told_also_where_the_form_was_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor = office()
    supervisor.answers["job_dispatch"] = ControlError("role:x is full: 100 jobs wait", "queue")
    closed, asked = asyncio.Event(), list[str]()
    answer = supervisor.call

    async def late(do: str, /, **args: Any) -> dict[str, Any]:
        if do == "job_dispatch":
            asked.append(do)
            await closed.wait()
        return await answer(do, **args)

    monkeypatch.setattr(supervisor, "call", late)
    async with running(supervisor) as pilot:
        await pilot.press("colon", *"dispatch role:x ping", "enter")
        await shows(pilot, "Dispatch a job")
        await pilot.press("enter")
        await eventually(lambda: asked)
        form = pilot.app.screen
        assert isinstance(form, DispatchForm)
        form.action_refuse()
        assert form.is_attached  # it is closed, and not taken down yet
        closed.set()
        await eventually(lambda: "role:x is full: 100 jobs wait" in toasts(pilot))


async def test_empty_states_name_the_next_key() -> None:
    async with running(Supervisor([task("web")])) as pilot:
        await pilot.press("3")
        await shows(pilot, "loading…")
    supervisor = QueueSupervisor([], [], in_use=False)
    async with running(supervisor) as pilot:
        await opened(pilot, "No jobs yet. d dispatches one")
        assert "No workers. Add [workers.NAME]" in text(pilot)


def test_what_can_be_completed() -> None:
    assert targets(None, ["web"]) == ["any", "web"]
    view = QueueSupervisor([job(1)], [worker(1, "a", roles=["r"], host="h"), worker(2, "gone", alive=False)])
    queue = QueueView.from_json(view._queue())
    assert targets(queue) == ["any", "a", "role:r", "host:h", "role:r@h", "role:reviewer"]
    assert kinds(queue) == ["prompt", "ping", "shutdown", "resize"]


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        ("ping", " ", None),
        ("prompt", "Say hi", {"text": "Say hi"}),
        ("prompt", '{"text": "x"}', {"text": "x"}),
        ("own", "3", 3),
    ],
)
def test_payloads(kind: str, typed: str, value: object) -> None:
    assert read_payload(kind, typed) == value


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("own", "hello"),
        ("prompt", '{"text": '),
        ("own", "{'a': 1}"),
        ("own", '{"n": NaN}'),
        pytest.param("own", "[" * 100_000, id="tower"),
        pytest.param("own", "1" * 5000, id="digits"),
    ],
)
def test_what_is_no_payload(kind: str, typed: str) -> None:
    with pytest.raises(ValueError, match=r"the payload is (not JSON|nested too deeply)"):
        read_payload(kind, typed)


@pytest.mark.parametrize("width", range(10, 120, 7))
def test_columns_fill_the_line(width: int) -> None:
    columns = (
        Column("a", "A", 0),
        Column("b", "B", 12),
        Column("c", "C", 9, keep=1),
        Column("d", "D", 6, keep=2),
    )
    shown = fitting(columns, width, 5)
    assert [column.key for column in shown][:2] == ["a", "b"]
    if width >= 20:
        assert 2 + sum(column.width for column in shown) + len(shown) - 1 == width
