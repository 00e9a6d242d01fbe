"""Letting a phase that waits for a login go on means that the login is there, so its runner is resumed, too."""

from __future__ import annotations

from paneview.broker import Broker
from paneview.rules.workflow import PhaseStatus, Workflow, events
from paneview.worker.pauses import logged_in
from paneview.workflow.views import job_id


def let_in(broker: Broker, flow: Workflow, event: events.Event) -> None:
    """Resume the runners that this event implies are logged in; called first, so that the next run begins at once.

    Raises BrokerError.
    """
    if not isinstance(event, events.Approved | events.Resumed):
        return
    meant = event.phase if isinstance(event, events.Approved) else None
    jobs = [
        job_id(flow.id, number, phase.attempt)
        for number, phase in enumerate(flow.phases)
        if phase.status is PhaseStatus.WAITING_PERSON and phase.outcome == "auth" and meant in (None, number)
    ]
    if jobs:
        logged_in(broker, jobs)
