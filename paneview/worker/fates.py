"""Cancelling, retrying and purging several jobs at a time, with a result for each: for command line and screen."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from paneview.broker import ALL, JobState, NotOursError, UnknownJobError
from paneview.broker.errors import DamagedJobError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from paneview.broker import Broker, Job

Fate = dict[str, Any]
"""``ok``, ``id``, ``action``, and ``error`` if not ok."""
NOT_DEAD = "is not a dead letter"


def cancel(broker: Broker, jobs: Iterable[str], reason: str = "") -> list[Fate]:
    """Cancel waiting or running jobs. Raises BrokerError."""
    fates: list[Fate] = []
    for job in jobs:
        try:
            action = broker.cancel(job, reason)
        except (UnknownJobError, NotOursError) as error:
            fates.append({"ok": False, "id": job, "action": "unknown", "error": str(error)})
            continue
        over = {"error": f"{job} was over"} if action == "over" else {}
        fates.append({"ok": action != "over", "id": job, "action": action, **over})
    return fates


def retry(broker: Broker, jobs: Sequence[str] | None = None) -> list[Fate]:
    """Queue dead letters again; None: all of them. Raises BrokerError.

    One for a worker that is forgotten stays: nobody would take it, and who has replaced that worker is not known.
    """
    known = {view.worker.id for view in broker.workers.all()}
    found = broker.dead(ALL) if jobs is None else list(_found(broker, jobs))
    lost = {job.id: job.lane[2:] for job in found if job.lane[:2] == "w:" and job.lane[2:] not in known}
    chosen = [job.id for job in found] if jobs is None else jobs
    done = set(broker.retry(job for job in chosen if job not in lost))
    errors = {job: f"was for the worker {worker} alone, which is long gone" for job, worker in lost.items()}
    return [_fate(job, "retried", job in done, errors.get(job, NOT_DEAD)) for job in chosen]


def purge(broker: Broker, jobs: Sequence[str] | None = None) -> list[Fate]:
    """Delete dead letters; None: all of them. Raises BrokerError."""
    chosen = _dead(broker) if jobs is None else list(jobs)
    done = set(broker.purge(chosen))
    return [_fate(job, "purged", job in done) for job in chosen]


def submitter(host: str) -> str:
    """The submitter's name for jobs from this process: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{user}@{host}"


def _found(broker: Broker, jobs: Iterable[str]) -> Iterator[Job]:
    """The dead letters among these that can be read; a retry may mend the others."""
    for name in jobs:
        with suppress(DamagedJobError):
            if (job := broker.job(name)) and job.state is JobState.DEAD:
                yield job


def _dead(broker: Broker) -> list[str]:
    return [job.id for job in broker.dead(ALL)]


def _fate(job: str, action: str, done: bool, error: str = NOT_DEAD) -> Fate:
    if done:
        return {"ok": True, "id": job, "action": action}
    return {"ok": False, "id": job, "action": "none", "error": f"{job} {error}"}
