"""When a task with a ``schedule`` runs next: cron expressions as Debian's cron reads them, in local time.

Done by cronsim, which is small, has no dependencies and knows what happens to a job at 02:30 on the two nights
a year when the clock changes.
"""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def next_time(expression: str, after: float) -> float | None:
    """The first time (epoch seconds) after `after` that matches; None if there is none in the next 50 years.

    Raises ValueError for an invalid expression.
    """
    start = datetime.fromtimestamp(after, _local_zone())
    try:
        found = CronSim(_MACROS.get(expression.strip().lower(), expression), start)
        # cronsim starts from the time on the clock, which in the hour that is repeated may already be an hour ago.
        return next(moment for when in found if (moment := when.timestamp()) > after)
    except CronSimError as error:
        reason = str(error)[:1].lower() + str(error)[1:]
        raise ValueError(f"{expression!r} is not a cron expression: {reason}") from error
    except StopIteration:
        return None


def _local_zone() -> tzinfo | None:
    """The zone with its rules: a fixed offset would run a job twice, or not at all, when the clock
    changes."""
    try:
        name = os.environ.get("TZ", "").removeprefix(":") or "/etc/localtime"
        if not name.startswith("/"):
            return ZoneInfo(name)
        # TZ=:/etc/localtime is common, as it saves programs a look at the file.
        with Path(name).open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return datetime.now().astimezone().tzinfo
