"""PaneBus's names for the queue's events: shown beside our own, and accepted by ``events --kind``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Ours → theirs, for those that PaneBus has a name for.
NAMES = {
    "worker_started": "worker_started",
    "worker_stopped": "worker_stopped",
    "job_claimed": "command_received",
    "job_done": "command_completed",
    "job_retry": "command_failed",
    "job_dead": "command_failed",
    "pane_respawned": "pane_respawned",
    "worker_quarantined": "pane_quarantined",
    "heartbeat_missed": "heartbeat_missed",
    "worker_hung": "heartbeat_missed",
}


def own_kinds(kinds: Iterable[str]) -> set[str]:
    """These kinds of events by our names; they may be given by PaneBus's."""
    wanted = set(kinds)
    return wanted | {ours for ours, theirs in NAMES.items() if theirs in wanted}


def with_alias(event: dict[str, Any]) -> dict[str, Any]:
    """The event with PaneBus's name for its kind, if it has one."""
    theirs = NAMES.get(str(event.get("event")))
    return event if theirs is None else {**event, "panebus": theirs}
