"""Cancelling, retrying and purging several jobs at a time, with a result for each: for command line and screen."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

from paneview.broker import ALL, UnknownJobError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paneview.broker import Broker

Fate = dict[str, Any]
"""``ok``, ``id``, ``action``, and ``error`` if not ok."""


def cancel(broker: Broker, jobs: Iterable[str], reason: str = "") -> list[Fate]:
    """Cancel waiting or running jobs. Raises BrokerError."""
    fates: list[Fate] = []
    for job in jobs:
        try:
            action = broker.cancel(job, reason)
        except UnknownJobError as error:
            fates.append({"ok": False, "id": job, "action": "unknown", "error": str(error)})
            continue
        over = {"error": f"{job} was over"} if action == "over" else {}
        fates.append({"ok": action != "over", "id": job, "action": action, **over})
    return fates


def retry(broker: Broker, jobs: Sequence[str] | None = None) -> list[Fate]:
    """Queue dead letters again; None: all of them. Raises BrokerError."""
    chosen = _dead(broker) if jobs is None else list(jobs)
    done = set(broker.retry(chosen))
    return [_fate(job, "retried", job in done) for job in chosen]


def purge(broker: Broker, jobs: Sequence[str] | None = None) -> list[Fate]:
    """Delete dead letters; None: all of them. Raises BrokerError."""
    chosen = _dead(broker) if jobs is None else list(jobs)
    return [_fate(job, "purged", bool(broker.purge([job]))) for job in chosen]


def submitter(host: str) -> str:
    """The submitter's name for jobs from this process: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{user}@{host}"


def _dead(broker: Broker) -> list[str]:
    return [job.id for job in broker.dead(ALL)]


def _fate(job: str, action: str, done: bool) -> Fate:
    if done:
        return {"ok": True, "id": job, "action": action}
    return {"ok": False, "id": job, "action": "none", "error": f"{job} is not a dead letter"}
