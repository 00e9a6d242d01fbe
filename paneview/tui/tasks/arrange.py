"""Which tasks the table shows, in which order, and what needs a person next: pure functions of the picture.

The default order is by urgency, then as in the file. Sorting is stable, so two tasks never swap without a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from paneview.control.flowmodel import FlowView
from paneview.control.model import TaskView
from paneview.tui.widgets.rowfilter import RowFilter
from paneview.tui.words import CHANGING, NEEDS_PERSON, condition, look, rank
from paneview.tui.workflows import words as flowwords


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts ``worker.10`` after ``worker.9``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


ORDERS: dict[str, Callable[[TaskView], object]] = {
    "urgency": rank,
    "file": lambda _: 0,
    "name": lambda task: natural(task.name),
    "cpu": lambda task: -(task.cpu_percent or 0.0),
    "memory": lambda task: -(task.rss_bytes or 0),
    "restarts": lambda task: -task.restarts,
}


def texts(task: TaskView) -> Iterable[str]:
    """The texts that a filter is matched with."""
    return task.name, task.group or "", look(task).word, task.command


def arrange(tasks: Iterable[TaskView], order: str, only_failing: bool, wanted: RowFilter) -> list[str]:
    """The names of the tasks to show."""
    shown = [
        task
        for task in wanted.choose(tasks, texts)
        if not only_failing or condition(task) in NEEDS_PERSON | {"backoff"}
    ]
    return [task.name for task in sorted(shown, key=ORDERS[order])]  # type: ignore[arg-type]


def next_asking(
    tasks: Iterable[TaskView], flows: Iterable[FlowView], here: TaskView | FlowView | None
) -> TaskView | FlowView | None:
    """The next task or workflow that waits for a person, after ``here``; else the next task that failed.

    If ``here`` itself waits, the round is all tasks, then all workflows; if not, its own kind comes first.
    """
    listed: list[TaskView | FlowView] = [*tasks]
    ranked: list[TaskView | FlowView] = [*sorted(flows, key=flowwords.rank)]
    if here is not None and _waits(here):
        turn = _behind(here, [*listed, *ranked])
    elif isinstance(here, FlowView):
        turn = [*_behind(here, ranked), *listed]
    else:
        turn = [*_behind(here, listed), *ranked]
    failed = (one for one in turn if isinstance(one, TaskView) and condition(one) in NEEDS_PERSON)
    return next(filter(_waits, turn), None) or next(failed, None)


def _waits(one: TaskView | FlowView) -> bool:
    return (
        (one.waits_for_person and not one.over) if isinstance(one, FlowView) else condition(one) == "asking"
    )


def _behind(here: TaskView | FlowView | None, those: list[TaskView | FlowView]) -> list[TaskView | FlowView]:
    """All of them, starting after ``here`` and wrapping around."""
    at = those.index(here) + 1 if here is not None and here in those else 0
    return [*those[at:], *those[:at]]


def counts(tasks: Iterable[TaskView]) -> dict[str, int]:
    """How many wait for an answer, have failed, are changing, ok (running or done), and at rest."""
    found = {"asking": 0, "ok": 0, "changing": 0, "failed": 0, "resting": 0}
    for task in tasks:
        name = condition(task)
        if name == "asking":
            found["asking"] += 1
        elif name in NEEDS_PERSON:
            found["failed"] += 1
        elif name in CHANGING:
            found["changing"] += 1
        elif name in ("idle", "stopped"):
            found["resting"] += 1
        else:
            found["ok"] += 1
    return found
