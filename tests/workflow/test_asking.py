"""What people ask to become of a workflow: the events it is, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paneview.control.errors import ControlError
from paneview.rules.workflow import PhasePlan, PhaseStatus, Plan, Workflow, begin, events
from paneview.workflow.asking import CHANGES, event_of, unchanged

PLAN = Plan("two", (PhasePlan("plan", "planner"), PhasePlan("work", "worker", needs=("plan",))))


@pytest.fixture
def flow() -> Workflow:
    return begin("two-1", PLAN, "do it", cwd="/", home="here", by="me", now=1000.0)


@pytest.mark.parametrize(
    ("do", "args", "event"),
    [
        ("workflow_approve", {"phase": "work"}, events.Approved(1, "ann")),
        ("workflow_reject", {"phase": None, "why": "no"}, events.Rejected(None, "no", "ann")),
        ("workflow_retry", {"phase": "plan"}, events.RetryAsked(0)),
        ("workflow_cancel", {"why": ""}, events.CancelAsked("cancelled by ann")),
        ("workflow_cancel", {"why": "late"}, events.CancelAsked("late")),
        ("workflow_resume", {"budget_usd": 2, "budget_tokens": 0}, events.Resumed(2.0, None)),
        ("workflow_resume", {"budget_usd": None, "budget_tokens": 9}, events.Resumed(None, 9)),
    ],
)
def test_each_request_is_an_event(flow: Workflow, do: str, args: dict[str, Any], event: events.Event) -> None:
    assert do in CHANGES
    assert event_of(flow, do, args, "ann") == event


@pytest.mark.parametrize(
    ("do", "args", "code", "words"),
    [
        ("workflow_approve", {"phase": "wrok"}, "not_found", "no phase 'wrok'; it has plan, work"),
        ("workflow_resume", {"budget_usd": 0, "budget_tokens": 0}, "bad_request", "must be above 0"),
        ("workflow_approve", {"answer": "80"}, "state", "nobody asks anything"),
    ],
)
def test_what_cannot_be_asked_for(
    flow: Workflow, do: str, args: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(ControlError, match=words) as refused:
        event_of(flow, do, args, "ann")
    assert refused.value.code == code


def test_an_answer_goes_with_a_question(flow: Workflow) -> None:
    asks = replace(flow.phases[0], status=PhaseStatus.WAITING_PERSON, question="Which port?")
    asked = replace(flow, phases=(asks, *flow.phases[1:]))
    for phase, number in ((None, None), ("plan", 0)):
        event = event_of(asked, "workflow_approve", {"phase": phase, "answer": " 80\n"}, "ann")
        assert event == events.Approved(number, "ann", "80")
    with pytest.raises(ControlError, match="nobody asks anything"):
        event_of(asked, "workflow_approve", {"phase": "work", "answer": "80"}, "ann")


def test_why_nothing_came_of_it(flow: Workflow) -> None:
    refused = unchanged(replace(flow, reason="so it is"), "workflow_reject")
    assert refused.code == "state"
    assert str(refused).endswith(" (so it is): nothing in it is waiting")
    held = unchanged(replace(flow, hold="its budget is spent"), "workflow_approve")
    assert "larger budget" in str(held)
