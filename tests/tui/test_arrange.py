"""Who needs a person, one after another."""

from __future__ import annotations

import pytest

from paneview.control.flowmodel import FlowView
from paneview.control.model import TaskView
from paneview.tui.tasks.arrange import next_asking

QUIET, ASKING, FAILED = TaskView("quiet"), TaskView("asking", needs_input="?"), TaskView("failed", "failed")
LATER, AGAIN = TaskView("later", needs_input="?"), TaskView("again", "failed")
OLD, NEW = (FlowView(name, waits_for_person=True, created_at=at) for at, name in enumerate(("old", "new")))
BUSY, OVER = FlowView("busy"), FlowView("over", status="done", waits_for_person=True)


@pytest.mark.parametrize(
    ("tasks", "flows", "here", "found"),
    [
        ([QUIET], [BUSY, OVER], QUIET, None),
        ([], [], None, None),
        ([QUIET, FAILED, ASKING, LATER], [OLD, NEW], None, ASKING),
        ([QUIET, FAILED, ASKING, LATER], [OLD, NEW], ASKING, LATER),
        ([QUIET, FAILED, ASKING, LATER], [OLD, NEW], LATER, NEW),
        ([QUIET, FAILED, ASKING, LATER], [OLD, NEW], NEW, OLD),
        ([QUIET, FAILED, ASKING, LATER], [OLD, NEW], OLD, ASKING),
        ([ASKING, QUIET], [OLD], QUIET, ASKING),
        ([ASKING], [OLD, BUSY], BUSY, OLD),
        ([ASKING], [BUSY, OVER], OVER, ASKING),
        ([FAILED, ASKING], [BUSY], ASKING, ASKING),
        ([QUIET, FAILED], [OLD], FAILED, OLD),
        ([FAILED, QUIET, AGAIN], [BUSY], QUIET, AGAIN),
        ([FAILED, QUIET, AGAIN], [BUSY], AGAIN, FAILED),
        ([FAILED, QUIET, AGAIN], [BUSY], BUSY, FAILED),
    ],
)
def test_the_next_that_needs_a_person(
    tasks: list[TaskView],
    flows: list[FlowView],
    here: TaskView | FlowView | None,
    found: TaskView | FlowView | None,
) -> None:
    assert next_asking(tasks, flows, here) == found
