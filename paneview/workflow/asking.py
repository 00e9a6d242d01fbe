"""What people ask to become of a workflow, as an event: the same for a supervisor and for the command line alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paneview.control.errors import ControlError
from paneview.rules.workflow import Workflow, events
from paneview.rules.workflow.model import WAITING
from paneview.text import person

CHANGES = {  # requests, and what is said where nothing came of one
    "workflow_approve": "nothing in it is waiting",
    "workflow_reject": "nothing in it is waiting",
    "workflow_resume": "there is nothing to resume",
    "workflow_cancel": "it is over",
    "workflow_retry": "it is not over, or nothing in it failed",
}


def event_of(flow: Workflow, do: str, args: Mapping[str, Any], by: str) -> events.Event:
    """What one of the `CHANGES` asks for. Raises ControlError."""
    name = args.get("phase")
    phase = None if name is None else phase_of(flow, name)
    match do:
        case "workflow_approve":
            return events.Approved(phase, by, _answer(flow, phase, args))
        case "workflow_reject":
            return events.Rejected(phase, args["why"], by)
        case "workflow_cancel":
            return events.CancelAsked(args["why"] or f"cancelled by {person(by)}")
        case "workflow_retry":
            return events.RetryAsked(phase)
        case _:
            usd = args["budget_usd"]
            more = None if usd is None else positive("budget_usd", usd)
            return events.Resumed(more, args["budget_tokens"] or None)


def _answer(flow: Workflow, phase: int | None, args: Mapping[str, Any]) -> str:
    answer = str(args.get("answer") or "").strip()
    phases = flow.phases if phase is None else flow.phases[phase : phase + 1]
    if answer and not any(one.question and one.status in WAITING for one in phases):
        raise ControlError("nobody asks anything: an answer goes with the question of an agent", "state")
    return answer


def unchanged(flow: Workflow, do: str) -> ControlError:
    """Why nothing came of it."""
    reason = f" ({flow.reason})" if flow.reason else ""
    words = "give it a larger budget, or cancel it" if flow.hold else CHANGES[do]
    return ControlError(f"{flow.id} is {flow.status.value}{reason}: {words}", "state")


def phase_of(flow: Workflow, name: str) -> int:
    """The number of its phase of this name. Raises ControlError."""
    number = flow.index(name)
    if number is None:
        known = ", ".join(plan.name for plan in flow.plan.phases)
        raise ControlError(f"{flow.id} has no phase {name!r}; it has {known}", "not_found")
    return number


def positive(name: str, value: float) -> float:
    """The value, if it is above 0. Raises ControlError."""
    if value <= 0:
        raise ControlError(f"{name} must be above 0", "bad_request")
    return float(value)
