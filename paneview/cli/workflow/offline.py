"""Workflows while no supervisor runs: read and changed in the queue. The next supervisor acts on the changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paneview.cli.errors import CliError
from paneview.cli.queue.opening import me, place_of, read_only
from paneview.workflow import asking, reading, views
from paneview.workflow.logins import let_in
from paneview.workflow.shelf import Shelf

if TYPE_CHECKING:
    from paneview.cli.parser import Call


def answer(call: Call, do: str, args: dict[str, Any]) -> dict[str, Any]:
    """What a supervisor would answer. Raises CliError, ControlError, BrokerError."""
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
                return reading.diff(flow, place_of(call).folder)
            except reading.NothingToSee as error:
                raise CliError(str(error)) from error
        event = asking.event_of(flow, do, args, me())
        let_in(broker, flow, event)
        _, after = shelf.change(flow.id, event)
        if after == flow:
            raise asking.unchanged(after, do)
        return {"workflow": views.summary(after)}
