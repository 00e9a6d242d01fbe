"""``watchdog``: restart workers that died in their panes, until told to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paneview.cli.queue.opening import place_of, seconds
from paneview.worker.console import Console
from paneview.worker.joining import connect
from paneview.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from paneview.broker import Broker
    from paneview.cli.parser import Call

INTERVAL = 30.0  # seconds


def watchdog(call: Call) -> int:
    """Watch in this process."""
    where = place_of(call, make=True)
    console = Console(as_json=call.json, level=where.settings.log_level)
    interval = seconds(call, "check-interval") or INTERVAL

    def open_queue(url: str) -> Broker:
        return connect(where.settings._replace(broker=url), where.folder)

    with open_queue(where.settings.broker) as broker:
        url = broker.address  # as the workers record it
    return Watchdog(open_queue, where.settings._replace(broker=url), interval, console).run()
