"""The state of the queue, for ``status`` while no supervisor runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from paneview.broker import BrokerError
from paneview.cli.output import clean, print_json
from paneview.cli.people import print_queue
from paneview.cli.queue.opening import is_alone, look_at, read_only
from paneview.supervisor.queue.overview import brief, nothing, overview

if TYPE_CHECKING:
    from paneview.cli.errors import CliError
    from paneview.cli.parser import Call
    from paneview.config.queue import QueuePlace

_NO_PROJECT = {
    "session": "", "running": False, "active_tasks": 0, "file": "", "supervisor": None, "tasks": [],
}  # fmt: skip


def summary(where: QueuePlace) -> dict[str, Any]:
    """What a supervisor would report of this queue."""
    try:
        with look_at(where) as broker:
            return brief(overview(broker))
    except BrokerError as error:
        return brief({**nothing(where.settings), "problem": str(error)})


def status_alone(call: Call, error: CliError) -> int:
    """``status`` without a project, in the same shape. Raises BrokerError, or ``error`` if there is no queue either."""
    if not is_alone(call):
        raise error
    with read_only(call) as broker:
        queue = brief(overview(broker))
    if call.json:
        print_json({"ok": True, **_NO_PROJECT, "queue": queue})
    else:
        more = "'paneview workers' and 'paneview jobs' tell more of this:"
        print(f"no project in {clean(os.getcwd())}; {more}")
        print_queue(call, queue)
    return 0
