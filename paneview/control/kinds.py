"""Every kind of event. Imports nothing.

``events --kind`` offers these, the screen has a phrase for each of a project's, and a test checks that everything else
that names kinds agrees with them.
"""

from __future__ import annotations

# Events that a project's supervisor records.
PROJECT = (
    "supervisor_started", "supervisor_stopped", "supervisor_adopted", "session_started", "session_stopped",
    "task_waiting", "task_started", "task_ready", "task_healthy", "task_unhealthy", "task_needs_input",
    "task_input_given", "health_check_failed", "task_exited", "task_stopping", "task_stopped", "task_killed",
    "task_restarted", "task_failed", "task_lost", "task_adopted", "task_removed",
    "auto_restart", "restart_scheduled", "max_restarts_reached", "counter_reset", "spawn_failed",
    "dependency_timeout", "schedule_skipped", "hook_failed", "leftovers_ended", "stray_ended", "port_cleared",
    "config_reloaded", "config_rejected", "change_refused", "scale_dropped",
    "log_gap", "store_damaged", "store_failed", "store_restored", "internal_error", "tmux_lost", "tmux_restored",
    "websocket_started", "websocket_stopped", "websocket_failed", "queue_lost", "queue_restored",
    "job_dispatched", "job_retried", "job_cancelled", "job_purged",
    "worker_hung", "worker_quarantined", "worker_unquarantined", "runner_paused", "runner_resumed",
    "workflow_started", "workflow_waiting", "workflow_budget", "workflow_conflict", "workflow_done",
    "workflow_failed", "workflow_cancelled",
)  # fmt: skip
# Events that the queue records itself, whoever uses it; it also records some of a project's kinds.
QUEUE = (
    "job_submitted", "job_unblocked", "job_claimed", "job_done", "job_retry", "job_released", "job_readdressed",
    "job_lost", "job_expired", "job_dead", "cancel_requested", "dead_retried", "dead_purged",
    "worker_started", "worker_stopped", "pane_respawned", "heartbeat_missed", "leader_changed", "file_set_aside",
)  # fmt: skip
KINDS = (*PROJECT, *QUEUE)
