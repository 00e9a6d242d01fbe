"""From a task's definition to the rules' policy."""

from __future__ import annotations

from paneview.config.models import Task
from paneview.rules.states import Policy, Quarantine


def policy_of(task: Task) -> Policy:
    """The part of a task's definition that the rules depend on."""
    worker = task.worker
    return Policy(
        restart=task.restart_policy,
        max_restarts=task.most_restarts,
        backoff=task.restart_backoff,
        probed=any((task.health_check, task.health_url, task.health_tcp, task.health_log)),
        probed_once=task.health_log is not None,
        health_interval=task.health_interval,
        health_retries=task.health_retries,
        stop_grace=task.stop_grace_period,
        quarantine=Quarantine(worker.respawn_limit, worker.respawn_window) if worker else None,
    )
