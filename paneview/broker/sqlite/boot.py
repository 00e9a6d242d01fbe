"""The clock that nobody can set: seconds since the machine was booted, its sleep included, and which boot it was."""

from __future__ import annotations

import time

from paneview import proc

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


def since_boot() -> float:
    """Seconds."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def this_boot() -> str:
    """A name for this boot: another one means that every time of `since_boot` is void."""
    return proc.boot_id()
