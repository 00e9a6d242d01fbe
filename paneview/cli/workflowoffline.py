"""Workflows while no supervisor runs: read and changed in the queue. A supervisor does what follows, once one runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paneview.cli.errors import CliError
from paneview.cli.queue import me, read_only
from paneview.rules.workflow import Workflow, happenings
from paneview.workflow import reading, views
from paneview.workflow.logins import let_in
from paneview.workflow.shelf import Shelf

if TYPE_CHECKING:
    from paneview.cli.parser import Call


def answer(call: Call, do: str, args: dict[str, Any]) -> dict[str, Any]:
    """What a supervisor would answer. Raises CliError, BrokerError."""
    with read_only(call) as broker:
        shelf = Shelf(broker)
        if do == "workflows":
            return views.listing(shelf.all(), active=args["active"], offset=0, limit=args["limit"])
        flow = shelf.get(args["id"])
        if do == "workflow":
            return {"workflow": views.whole(flow, views.working_roles(broker))}
        if do == "workflow_result":
            return views.result(flow)
        if do == "workflow_diff":
            try:
                return reading.diff(flow)
            except reading.NothingToSee as error:
                raise CliError(str(error)) from error
        event = _event(flow, do, args)
        let_in(broker, flow, event)
        _, after = shelf.change(flow.id, event)
        if after == flow:
            raise CliError(f"{flow.id} is {flow.status.value}: that changes nothing", code="state")
        return {"workflow": views.summary(after)}


def _event(flow: Workflow, do: str, args: dict[str, Any]) -> happenings.Happening:
    phase = _phase(flow, args.get("phase"))
    match do:
        case "workflow_cancel":
            return happenings.CancelAsked(args["why"] or f"cancelled by {me()}")
        case "workflow_retry":
            return happenings.RetryAsked(phase)
        case "workflow_approve":
            return happenings.Approved(phase, me())
        case "workflow_reject":
            return happenings.Rejected(phase, args["why"], me())
        case _:
            return happenings.Resumed(args["budget_usd"], args["budget_tokens"])


def _phase(flow: Workflow, name: str | None) -> int | None:
    if name is None:
        return None
    number = flow.index(name)
    if number is None:
        known = ", ".join(plan.name for plan in flow.plan.phases)
        raise CliError(f"{flow.id} has no phase {name!r}; it has {known}", code="not_found")
    return number
