"""The queue as one JSON object: waiting jobs by target, workers, and what is quarantined or paused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paneview.control.queuemodel import MOST_DEAD
from paneview.worker import pauses
from paneview.worker.joining import shown_url
from paneview.worker.views import lane_json, worker_json

if TYPE_CHECKING:
    from paneview.broker import Broker
    from paneview.config.queue import QueueSettings

MOST_GONE = 50  # workers that have left and are still listed


def overview(broker: Broker, dead: int | None = None) -> dict[str, Any]:
    """The queue as it is now; ``dead``: the number of dead letters, if known. Raises BrokerError; blocking."""
    broker.check()
    lanes = [lane_json(lane) for lane in broker.stats()]
    quarantined = broker.workers.quarantined()
    views = broker.workers.all()
    alive = [view for view in views if view.alive]
    names = {view.worker.name for view in alive}
    # Of workers that have left, the latest incarnation of each name, unless a successor is alive.
    for view in views:
        if len(alive) - len(names) < MOST_GONE and view.worker.name not in names:
            names.add(view.worker.name)
            alive.append(view)
    ages = [lane["oldest_age_s"] for lane in lanes if lane["oldest_age_s"] is not None]
    return {
        "in_use": True,
        "broker": shown_url(broker.url),
        "problem": None,
        "warnings": list(broker.warnings),
        "lanes": lanes,
        "waiting": sum(lane["depth"] for lane in lanes),
        "running": sum(lane["leased"] for lane in lanes),
        "dead": len(broker.dead(MOST_DEAD)) if dead is None else dead,
        "oldest_age_s": max(ages, default=None),
        "workers": [worker_json(view, quarantined) for view in alive],
        "quarantined": quarantined,
        "paused": [
            {
                "runner": one.runner,
                "status": one.status,
                "reason": one.reason,
                "until": one.until,
                "host": one.host,
            }
            for one in pauses.paused(broker).values()
        ],
    }


def brief(found: dict[str, Any]) -> dict[str, Any]:
    """The few numbers of an `overview` that `status` includes."""
    keys = ("broker", "problem", "waiting", "running", "dead", "oldest_age_s", "quarantined")
    alive = sum(worker["alive"] for worker in found["workers"])
    return {**{key: found[key] for key in keys}, "workers": alive}


def nothing(settings: QueueSettings) -> dict[str, Any]:
    """An `overview` of a queue that is not in use, or not known yet."""
    return {
        "in_use": False,
        "broker": shown_url(settings.broker),
        "problem": None,
        "warnings": [],
        "lanes": [],
        "waiting": 0,
        "running": 0,
        "dead": 0,
        "oldest_age_s": None,
        "workers": [],
        "quarantined": {},
        "paused": [],
        "host": settings.here,
        "changes": 0,
    }
