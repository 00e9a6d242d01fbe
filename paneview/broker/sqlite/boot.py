"""A clock that cannot be set: seconds since the machine booted, sleep included, and a name for the boot."""

from __future__ import annotations

import time

from paneview import proc

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


def since_boot() -> float:
    """Seconds since boot."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def this_boot() -> str:
    """A name for this boot; times of `since_boot` are valid only within one boot."""
    return proc.boot_id()
