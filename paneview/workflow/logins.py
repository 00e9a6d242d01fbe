"""Whoever lets a phase that waits for a login go on says that the login is there: its runner goes on, too."""

from __future__ import annotations

from paneview.broker import Broker
from paneview.rules.workflow import PhaseStatus, Workflow, happenings
from paneview.worker.pauses import logged_in
from paneview.workflow.views import job_id


def let_in(broker: Broker, flow: Workflow, event: happenings.Happening) -> None:
    """Resume what this event says is logged in; before it is told, so that the next run begins at once.

    Raises BrokerError.
    """
    if not isinstance(event, happenings.Approved | happenings.Resumed):
        return
    meant = event.phase if isinstance(event, happenings.Approved) else None
    jobs = [
        job_id(flow.id, number, phase.attempt)
        for number, phase in enumerate(flow.phases)
        if phase.status is PhaseStatus.WAITING_PERSON and phase.outcome == "auth" and meant in (None, number)
    ]
    if jobs:
        logged_in(broker, jobs)
