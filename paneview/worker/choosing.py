"""Whom a job goes to if not every worker that takes jobs for its target has a handler for its kind.

A worker that claims a job without a handler for it fails it for good. The lanes know nothing of kinds, so whoever
sends a job looks who is alive, and addresses it to one that can do it.
"""

from __future__ import annotations

import random
from dataclasses import replace

from paneview.broker import Broker, BrokerError, NewJob, Registration, Target, lanes_of


class NoHandlerError(BrokerError):
    """Workers would take the job, but none has a handler for its kind."""


def suited(broker: Broker, job: NewJob) -> NewJob:
    """The job, addressed to a worker that can do it unless all that may take it can. Raises `NoHandlerError`.

    A delayed job stays as it is, as does one that nobody alive takes: who will take it is not known yet.
    """
    if job.delay > 0:
        return job
    takers = [view for view in broker.workers.all(alive_only=True) if takes(view.worker, job.target)]
    able = [view for view in takers if can(view.worker, job.kind)]
    if len(able) == len(takers):
        return job
    if not able:
        known = sorted({kind for view in takers for kind in view.worker.meta["kinds"]})
        raise NoHandlerError(
            f"nobody alive that takes jobs for {job.target} has a handler for {job.kind!r}; known: {', '.join(known)}"
        )
    free = [view for view in able if len(view.jobs) < view.worker.concurrency]
    # By chance, because jobs sent at the same time would all go to the same one.
    chosen = random.choice(free or able).worker  # noqa: S311 - no secret
    return replace(job, target=Target(worker=chosen.id))


def takes(worker: Registration, target: Target) -> bool:
    """Whether the worker takes jobs for this target."""
    names = [name for name in (worker.name, worker.pane) if name]
    return target.lane in lanes_of(worker.id, worker.roles, worker.host, names)


def can(worker: Registration, kind: str) -> bool:
    """Whether the worker has a handler for this kind; True for one that names none, since it decides by itself."""
    kinds = worker.meta.get("kinds")
    return not kinds or kind in kinds
