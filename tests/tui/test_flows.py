"""The screens of workflows: what they show, and what each key asks of the supervisor."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from paneview.control.errors import ControlError
from paneview.control.flowmodel import FlowView, PhaseView, Usage
from paneview.tui.app import PaneviewApp
from paneview.tui.commands import execute
from paneview.tui.screens import aim
from paneview.tui.screens.workflow import WorkflowScreen
from paneview.tui.screens.workflows import WorkflowsScreen
from paneview.tui.workflows import words
from paneview.tui.workflows.pane import FlowPane
from paneview.tui.workflows.tables import FlowTable
from paneview.tui.workflows.text import facts, phase_text
from tests.harness import eventually
from tests.tui.flow_scenes import FlowSupervisor, flow, four, paused, phase, spent, team
from tests.tui.running import fleet, running, text, toasts
from tests.tui.scripted import NOW, Supervisor, task

ASKS, RUNS, FAILED, BUDGET = (f"default-{number:08x}" for number in (2, 1, 4, 6))


async def shows(pilot: Pilot[int], *parts: str, where: str | None = None) -> str:
    try:
        await eventually(
            lambda: (
                (where is None or pilot.app.screen.query(where))
                and all(part in text(pilot, where) for part in parts)
            )
        )
    except AssertionError:
        raise AssertionError(f"not shown: {parts}\n{text(pilot)}") from None
    return text(pilot, where)


async def opened(pilot: Pilot[int], on: str | None = None) -> WorkflowsScreen:
    """The screen of workflows, with the cursor on one of them."""
    await pilot.press("4")
    await shows(pilot, "PHASES")
    screen = pilot.app.screen
    assert isinstance(screen, WorkflowsScreen)
    if on:
        screen.table.select(on)
        await pilot.pause()
    return screen


async def asked(supervisor: FlowSupervisor, do: str, *wanted: dict[str, object]) -> None:
    await eventually(lambda: supervisor.requests(do) == list(wanted))


async def test_what_needs_a_person_comes_first_and_nothing_unpriced_is_free() -> None:
    async with running(team(), (140, 40)) as pilot:
        await opened(pilot)
        lines = text(pilot, "#flows").splitlines()[1:8]
        states = [line[2:15].split() for line in lines]
        assert states == [
            ["◆", "needs", "you"], ["◆", "needs", "you"], ["●", "running"], ["✓", "done"], ["✗", "failed"],
            ["■", "cancelled"], ["✓", "done"],
        ]  # fmt: skip
        assert "✓✓◆○" in lines[0]
        assert "work       careful       38m   8.4k    $0.06 default-00000002" in lines[0]
        assert "Fix the failing tests of " in lines[1]
        assert "45.0k unpriced" in lines[3]
        assert "◆ work: to be approved: it may edit files" in text(pilot, "#phases-rule")
        assert "\x1b" not in lines[6]
        phases = text(pilot, "#phases")
        for part in (
            "✓ done            54s   4.2k    $0.03",
            "◆ approve?",
            "to be approved: it may edit files",
        ):
            assert part in phases
        assert "! reviewer.2 ! careful on 4" in text(pilot, "#header")
        assert "◆ 2 need input" in text(pilot, "#header")


async def test_one_workflow_its_transcript_grows_and_its_diff() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await opened(pilot, RUNS)
        await pilot.press("enter")
        await shows(
            pilot, "● running  default", "transcript plan ● running", "The sum leaves out the counts."
        )
        supervisor.show(RUNS, "plan", "".join(f"line {n}\n" for n in range(40)))
        await shows(pilot, "line 39")
        await pilot.press("tab", "k", "k")
        supervisor.show(RUNS, "plan", "one more\nhalf a")
        await shows(pilot, "of 44 lines")
        assert "one more" not in text(pilot)
        await pilot.press("G")
        await shows(pilot, "one more")
        assert "half a" not in text(pilot)
        supervisor.show(RUNS, "plan", " line\n")
        await shows(pilot, "half a line")
        await pilot.press("D")
        shown = await shows(pilot, "diff 2 lines in 1 file", "+    return sum(item.price * item.count")
        assert "half a line" not in shown
        await pilot.press("v")
        await shows(
            pilot, "about", "asked by ann", "paneview/default-00000001", "The review says that all is well."
        )
        await pilot.press("escape", "escape")
        assert isinstance(pilot.app.screen, WorkflowsScreen)
        asked_so_far = len(supervisor.requests("workflow_transcript"))
        await pilot.pause(0.5)
        assert len(supervisor.requests("workflow_transcript")) == asked_so_far


async def test_a_long_transcript_begins_near_its_end() -> None:
    supervisor = team()
    supervisor.show(RUNS, "plan", "".join(f"{n:09}\n" for n in range(100_000)), over=True)
    async with running(supervisor) as pilot:
        await opened(pilot, RUNS)
        await pilot.press("enter")
        await shows(pilot, "000099999", "of 20,001 lines")
        await pilot.press("tab", "g")
        await shows(pilot, "… what came before is left out here")
        assert sum(min(one["limit"], 1 << 20) for one in supervisor.requests("workflow_transcript")) < 1 << 20


async def test_phases_move_and_are_opened() -> None:
    async with running(team()) as pilot:
        await opened(pilot, FAILED)
        await pilot.press("tab", "g", "j", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, WorkflowScreen)
        await shows(pilot, "transcript plan run 2 ✗ failed", "plan: exit code 2")
        await pilot.press("tab", "j")
        await shows(pilot, "It has not run yet. v shows")
        await pilot.press("v", "v")
        await shows(pilot, "Traceback: it did not work")
        await pilot.press("escape", "escape", "j", "enter")
        await shows(pilot, "▌ work", "transcript work ○ pending", "It has not run yet")


async def test_approving_and_rejecting() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await opened(pilot, ASKS)
        await pilot.press("X")
        await shows(pilot, "why work is rejected")
        await pilot.press(*"too much", "enter")
        await asked(supervisor, "workflow_reject", {"id": ASKS, "phase": "work", "why": "too much"})
        await shows(pilot, "✗ failed", where="#flows")
    supervisor = team()
    async with running(supervisor) as pilot:
        await opened(pilot, ASKS)
        await pilot.press("enter")
        await shows(pilot, "A lets it begin, X rejects it and asks why")
        await pilot.press("A")
        await asked(supervisor, "workflow_approve", {"id": ASKS, "phase": "work"})
        await shows(pilot, "● running", where="#flow-head")
        await pilot.press("A")
        await eventually(lambda: "approve: nothing in it waits for a person" in toasts(pilot))
        await pilot.press("X")
        await eventually(lambda: "reject: no phase of it waits for a person" in toasts(pilot))


async def test_a_question_of_an_agent_is_answered() -> None:
    supervisor = team()
    phases = four("done", "waiting_person", "pending", "pending")
    phases[1] |= {"question": "Which port?", "reason": "it asks: Which port?"}
    raw = flow(9, "waiting", phases)
    supervisor.put_flow(raw)
    async with running(supervisor) as pilot:
        await opened(pilot, raw["id"])
        await pilot.press("enter")
        await shows(pilot, "A answers it, X rejects it and asks why")
        await shows(pilot, "it asks: Which port?")
        await pilot.press("A")
        await shows(pilot, f"answer to {phases[1]['name']}; nothing: it decides itself")
        await pilot.press(*"80", "enter")
        wanted = {"id": raw["id"], "phase": phases[1]["name"], "answer": "80"}
        await asked(supervisor, "workflow_approve", wanted)


async def test_a_spent_budget_is_raised() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await opened(pilot, BUDGET)
        for typed in ("free", "nan", "inf", "-1"):
            await pilot.press("A", *typed, "enter")
            await eventually(
                lambda typed=typed: f"budget: {typed!r} is not an amount in dollars" in toasts(pilot)
            )
        assert not supervisor.requests("workflow_resume")
        await pilot.press("A", *"$2.5", "enter")
        await asked(supervisor, "workflow_resume", {"id": BUDGET, "budget_usd": 2.5})
        await shows(pilot, "◆ 1 needs input")


async def test_a_spent_budget_of_tokens_is_raised() -> None:
    supervisor = team()
    dear = supervisor.flows[BUDGET]
    dear |= {"budget_usd": 5.0, "budget_tokens": dear["tokens"]["total"]}
    async with running(supervisor) as pilot:
        await opened(pilot, BUDGET)
        for typed in ("0", "many", "1.5"):
            await pilot.press("A", *typed, "enter")
            await eventually(
                lambda typed=typed: f"budget: {typed!r} is not a number of tokens" in toasts(pilot)
            )
        await pilot.press("A", *"100000", "enter")
        await asked(supervisor, "workflow_resume", {"id": BUDGET, "budget_tokens": 100000})


async def test_cancelling_asks_with_no_as_default_and_lists_what_ends() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await opened(pilot, RUNS)
        await pilot.press("c")
        await shows(pilot, "Cancel this workflow?", "Ends plan; what it has done already stays done.",
                    "stays on the branch paneview/default-00000001", "▌ n No", where="#box")  # fmt: skip
        await pilot.press("enter")
        await pilot.pause()
        assert not supervisor.requests("workflow_cancel")
        await pilot.press("c", "y")
        await asked(supervisor, "workflow_cancel", {"id": RUNS})
        await eventually(lambda: any("is cancelled" in one for one in toasts(pilot)))
        await pilot.press("c")
        await eventually(lambda: "cancel: it is cancelled" in toasts(pilot))


async def test_retrying_what_failed_or_from_a_phase_on() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await opened(pilot, FAILED)
        await pilot.press("tab", "g", "R")
        await shows(
            pilot, "Retry from review?", "review and what follows from it are done again", where="#box"
        )
        await pilot.press("y")
        await asked(supervisor, "workflow_retry", {"id": FAILED, "phase": "review"})
        supervisor.asked.clear()
        await pilot.press("r")
        await eventually(lambda: "retry: it is not over yet" in toasts(pilot))
        supervisor.put_flow(flow(4, "failed", [phase("review", "done"), phase("plan", "failed", attempt=3)]))
        await shows(pilot, "✗ failed", where="#phases")
        await pilot.press("r")
        await asked(supervisor, "workflow_retry", {"id": FAILED})


async def test_n_goes_to_the_next_that_waits_from_every_screen() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await pilot.press("5", "n")
        await shows(pilot, "▌ ◆ needs you  Fix the failing tests of module 2")
        await pilot.press("n")
        await shows(pilot, "phases ◆ its budget of $0.05 is spent")
        await pilot.press("n")
        await shows(pilot, "▌ ◆ needs you  Fix the failing tests of module 2")
        await pilot.press("enter", "n")
        await shows(pilot, "its budget of $0.05 is spent", where="#flow-reason")
        # A task that asks comes first.
        supervisor.change("web", needs_input="Overwrite?")
        await pilot.press("1", "n")
        await shows(pilot, "▌ web")
        assert fleet(pilot).table.cursor == "web"


async def test_n_goes_round_all_that_ask_tasks_and_workflows() -> None:
    supervisor = team()
    supervisor.put_flow(supervisor.flows[BUDGET], waits_for_person=False)
    supervisor.tasks["web"] |= {"needs_input": "Overwrite?"}
    async with running(supervisor) as pilot:
        await shows(pilot, "◆ 2 need input", where="#header")
        await shows(pilot, "▌ web", where="#tasks")
        for _ in range(2):
            await pilot.press("n")
            await shows(pilot, "▌ ◆ needs you  Fix the failing tests of module 2")
            await pilot.press("n")
            await shows(pilot, "▌ web", where="#tasks")
        await pilot.press("4", "enter", "n")
        await shows(pilot, "▌ web", where="#tasks")


async def test_toasts_only_where_a_person_is_needed_or_it_is_over() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        running_one = supervisor.flows[RUNS]
        supervisor.put_flow(flow(1, "running", four("done", "done", "running", "pending")))
        await pilot.pause(0.1)
        assert not toasts(pilot)
        asks = four("done", "done", "waiting_person", "pending")
        asks[2]["reason"] = "it was denied Bash"
        supervisor.put_flow(flow(1, "running", asks))
        told = f"default “{running_one['task']}” needs you on 4: work: it was denied Bash"
        await eventually(lambda: toasts(pilot) == [told])
        supervisor.put_flow(flow(1, "running", asks, budget_warned=True))
        await pilot.pause(0.1)
        assert toasts(pilot) == [told]
        supervisor.put_flow(
            flow(1, "failed", four("done", "done", "failed", "pending"), reason="work: exit code 1")
        )
        await eventually(
            lambda: toasts(pilot)[1:] == [f"default “{running_one['task']}” failed: work: exit code 1"]
        )


async def test_what_happened_while_away_is_told_and_shown() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await opened(pilot)
        supervisor.go()
        await shows(pilot, "disconnected", "Fix the failing tests of module 1")
        supervisor.flows[RUNS] = flow(1, "done", four("done", "done", "done", "skipped"))
        supervisor.come_back()
        await eventually(lambda: [one for one in toasts(pilot) if one.endswith("is done")] != [])
        await eventually(lambda: "● running" not in text(pilot, "#flows"))


async def test_a_push_is_newer_than_the_list_that_was_asked_for_before_it() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        picture = pilot.app.picture  # type: ignore[attr-defined]
        picture.expect_flows()
        picture.take_flow(flow(1, "done", four("done", "done", "done", "done")))
        picture.take_flows([flow(1, "running", four("done", "running", "pending", "pending"))])
        assert picture.flows[RUNS].status == "done"
        assert len(picture.flows) == 1


async def test_filter_and_only_active() -> None:
    async with running(team()) as pilot:
        screen = await opened(pilot)
        await pilot.press("f")
        await shows(pilot, "only active", where="#phases-rule")
        assert len(screen.table.keys) == 3
        await pilot.press("slash", *"careful", "enter")
        await shows(pilot, "/careful", where="#phases-rule")
        assert screen.table.keys == [ASKS]
        await pilot.press("slash", *"[x", "enter")
        await shows(pilot, "No workflow matches [x. Esc clears the filter")
        await pilot.press("escape")
        await eventually(lambda: len(screen.table.keys) == 7)


async def test_a_paused_runner_is_told_while_the_screen_is_open() -> None:
    supervisor = paused()
    async with running(supervisor) as pilot:
        await opened(pilot)
        await shows(pilot, "! claude is paused, rate limit (goes on in 5m00s)")
        await pilot.press("3")
        await shows(pilot, "No jobs yet")
        assert "queue" in supervisor.topics
        await pilot.press("4", "1")
        await eventually(lambda: "queue" not in supervisor.topics)


async def test_refusals_are_told_and_known_workflows_stay() -> None:
    supervisor = team()
    supervisor.answers["workflow_approve"] = ControlError("default-2 is done: nothing of it waits", "state")
    supervisor.answers["workflow_diff"] = ControlError("it has left no branch", "failed")
    async with running(supervisor) as pilot:
        await opened(pilot, ASKS)
        await pilot.press("A")
        await eventually(lambda: "approve: default-2 is done: nothing of it waits" in toasts(pilot))
        await pilot.press("D")
        await shows(pilot, "it has left no branch", where="#flow-text")


def test_what_a_phase_gave_or_was_denied_is_told_once() -> None:
    def told(raw: dict[str, object]) -> str:
        return "\n".join(one.text for one in phase_text(PhaseView.from_json(raw), raw, NOW))

    for said in ('{"risk": "low"}', "It is safe."):
        raw = phase("plan", "done", text=said, data={"risk": "low"})
        assert told(raw).count("It is safe.") + told(raw).count('"risk"') == (1 if said[0] == "{" else 2)
    for reason in ("it was refused what it needs: Bash", "out of turns"):
        raw = phase("work", "waiting_person", reason=reason, denials=["Bash"])
        assert told(raw).count("Bash") == 1


async def test_empty_states_name_the_next_key() -> None:
    async with running(Supervisor([task("web")])) as pilot:
        await opened_empty(pilot, "No workflows yet. a asks")
        await pilot.press("A")
        await eventually(lambda: "no workflow is selected: a asks for one" in toasts(pilot))
        await pilot.press("n")
        await eventually(lambda: "Nothing needs a person" in toasts(pilot))
    supervisor = Supervisor([task("web")])
    supervisor.answers["workflows"] = ControlError("Redis at h does not answer", "queue")
    async with running(supervisor) as pilot:
        await opened_empty(pilot, "✗ Redis at h does not answer")


async def opened_empty(pilot: Pilot[int], part: str) -> None:
    await pilot.press("4")
    await shows(pilot, part)


async def test_commands_and_the_palette_know_workflows() -> None:
    supervisor = team()
    async with running(supervisor, (120, 40)) as pilot:
        app = pilot.app
        assert isinstance(app, PaneviewApp)
        await pilot.press("colon", *"approve d", "right", "enter")
        await asked(supervisor, "workflow_approve", {"id": ASKS, "phase": "work"})
        execute(app, f"workflow {RUNS}")
        await shows(pilot, "transcript plan")
        execute(app, "cancel")
        await shows(pilot, "Cancel this workflow?", where="#box")
        await pilot.press("y")
        await asked(supervisor, "workflow_cancel", {"id": RUNS})
        execute(app, f"retry {FAILED} nope")
        await eventually(
            lambda: any("has no phase nope; it has review, plan" in one for one in toasts(pilot))
        )
        await pilot.press("1")
        execute(app, "reject")
        await eventually(lambda: "which workflow? Its id follows the command" in toasts(pilot))
        await pilot.press("ctrl+p", *"flow 4")
        await shows(
            pilot,
            "workflow default-00000004",
            "failed · Fix the failing tests of module 4",
        )
        await pilot.press("escape", "4", "question_mark")
        await shows(pilot, "Workflows", "Approve what waits", "Ask agents for something")


async def test_copying_what_is_shown() -> None:
    async with running(team()) as pilot:
        await opened(pilot, RUNS)
        await pilot.press("enter")
        await shows(pilot, "The sum leaves out the counts.")
        await pilot.press("y")
        await eventually(lambda: any(one.startswith("run copied") for one in toasts(pilot)))


@pytest.mark.parametrize(
    ("usage", "shown"),
    [
        (Usage(), "unpriced"),
        (Usage(0, 0.0), ""),
        (Usage(10, 0.0), "$0.00"),
        (Usage(10, 0.0, 1), "unpriced"),
        (Usage(10, None, 2), "unpriced"),
        (Usage(10, 0.004), "<$0.01"),
        (Usage(10, 12.346), "$12.35"),
        (Usage(10, 0.25, 1), "$0.25+?"),
    ],
)
def test_money(usage: Usage, shown: str) -> None:
    assert words.cost(usage) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, ""), (812, "812"), (999, "999"), (14_200, "14.2k"), (999_700, "1.0M"), (3_100_000, "3.1M")],
)
def test_tokens(count: int, shown: str) -> None:
    assert words.tokens(Usage(count)) == shown


def test_what_a_workflow_is_at() -> None:
    raw = flow(1, "running", [phase("a", "done"), phase("b", "waiting_approval"), phase("c", "running")])
    view = FlowView.from_json(raw | {"waits_for_person": True} | spent(5, None, 1))
    assert view.current is not None
    assert view.current.name == "b"
    assert words.flow_look(view).word == "needs you"
    assert view.waiting == (("b", 0),)
    limited = FlowView.from_json(flow(1, "running", [phase("a", not_before=NOW + 65)]))
    assert words.phase_look(limited.phases[0], NOW).word == "limited 1m05s"


def test_a_worktree_that_was_kept_is_told() -> None:
    kept = FlowView.from_json(flow(1, "done", [phase("a", "done")], kept="/w is kept: it has changes"))
    assert any(line.text == "/w is kept: it has changes" for line in facts(kept, NOW))


async def test_a_key_pressed_twice_does_not_approve_what_was_not_seen() -> None:
    supervisor = team()
    both = four("done", "waiting_approval", "waiting_approval", "pending")
    raw = flow(9, "running", both)
    async with running(supervisor) as pilot:
        await pilot.press("4")
        supervisor.put_flow(raw)
        await eventually(lambda: raw["id"] in pilot.app.picture.flows)
        pilot.app.show_flow(raw["id"])
        await eventually(lambda: bool(pilot.app.screen.query(FlowTable)))
        await eventually(lambda: pilot.app.screen.query_one(FlowTable).cursor == raw["id"])
        names = [one["name"] for one in both]
        left = [both[0], {**both[1], "status": "queued", "waits_for_person": False}, *both[2:]]
        supervisor.answers["workflow_approve"] = {"workflow": {**raw, "phases": left}}
        await pilot.press("A")
        await eventually(lambda: pilot.app.picture.flows[raw["id"]].phases[1].status == "queued")
        await pilot.press("A")
        await eventually(lambda: any(f"now {names[2]} waits" in one for one in toasts(pilot)))
        assert [one["phase"] for one in supervisor.requests("workflow_approve")] == [names[1]]


async def test_a_key_is_not_for_the_workflow_that_has_just_taken_the_place_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aim, "MOMENT", 60.0)
    supervisor = team()
    async with running(supervisor) as pilot:
        await pilot.press("4", "slash", *"needs|failed", "enter", "g")
        first, second = pilot.app.screen.query_one(FlowTable).keys[:2]
        supervisor.put_flow(
            supervisor.flows[first],
            status="running",
            phases=four("done", "done", "done", "running"),
            waits_for_person=False,
        )
        await eventually(lambda: pilot.app.screen.query_one(FlowTable).cursor == second)
        await pilot.press("r")
        await eventually(lambda: any("just been selected" in one for one in toasts(pilot)))
        assert not supervisor.requests("workflow_retry")


async def test_a_diff_that_comes_when_the_transcript_is_shown_does_not_give_it_its_title() -> None:
    supervisor = team()
    async with running(supervisor) as pilot:
        await pilot.press("4")
        await eventually(lambda: bool(pilot.app.screen.query(FlowTable)))
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, WorkflowScreen))
        await eventually(lambda: "── about " in text(pilot, "#flow-text"))
        supervisor.delay = 0.1
        await pilot.press("D")
        await eventually(lambda: bool(supervisor.requests("workflow_diff")))
        await pilot.press("tab", "enter")
        assert "── transcript " in text(pilot, "#flow-text")
        await pilot.pause(0.25)
        pilot.app.screen.query_one(FlowPane).redraw()  # as when the run shows something
        assert "── transcript " in text(pilot, "#flow-text")
