"""``events --queue``: what happened to jobs and workers, on every host that shares the queue."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from paneview.cli.errors import UsageError
from paneview.cli.output import clean, colourful, paint, print_json
from paneview.cli.queue import opened
from paneview.cli.times import optional_when, stamp
from paneview.worker.views import event_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paneview.broker import Event
    from paneview.cli.parser import Call

DEFAULT_LINES = 100
ALL = 1_000_000
WAIT = 30.0  # seconds of one wait
_BAD = ("failed", "lost", "dead", "missed", "quarantined", "expired")


def queue_events(call: Call) -> int:
    """Past events, and with ``-f`` what comes."""
    if call.text("task"):
        raise UsageError("--task does not go with --queue", "'paneview jobs --task NAME' shows a task's jobs")
    since, until = optional_when(call.text("since"), "--since"), optional_when(call.text("until"), "--until")
    lines = call.count("lines")
    wanted = ALL if since is not None or call.texts("kind") else lines or DEFAULT_LINES
    with opened(call) as broker:
        page = broker.events.tail(wanted)
        found = [event for event in page.events if _is_wanted(event, call, since, until)]
        if lines is not None:
            found = found[-lines:] if lines else []
        if not call.flag("follow"):
            _print(call, found)
            return 0
        _print_each(call, found)
        cursor = page.cursor
        try:
            while True:
                page = broker.events.wait(cursor, WAIT)
                cursor = page.cursor
                _print_each(call, [event for event in page.events if _is_wanted(event, call, since, until)])
        except KeyboardInterrupt:
            return 0


def _is_wanted(event: Event, call: Call, since: float | None, until: float | None) -> bool:
    kinds = call.texts("kind")
    return (
        (not kinds or event.kind in kinds)
        and (since is None or event.ts >= since)
        and (until is None or event.ts <= until)
    )


def _print(call: Call, found: list[Event]) -> None:
    if call.json:
        print_json({"ok": True, "events": [event_json(event) for event in found], "count": len(found)})
    else:
        _print_each(call, found)


def _print_each(call: Call, found: Iterable[Event]) -> None:
    colour = colourful()
    for event in found:
        if call.json:
            print_json(event_json(event))
            continue
        ink = "red" if event.kind.endswith(_BAD) else None
        parts = [paint(stamp(event.ts), "dim", colour), paint(clean(event.kind).ljust(18), ink, colour)]
        parts += [clean(part) for part in (event.job, event.worker[:12]) if part]
        if event.detail:
            parts.append(clean(json.dumps(dict(event.detail), ensure_ascii=False)))
        print("  ".join(parts))
    sys.stdout.flush()
