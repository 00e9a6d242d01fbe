"""A clock that cannot be set: seconds since the machine booted, sleep included.

Its times are valid only within one boot, which `paneview.proc.boot_id` names.
"""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


def since_boot() -> float:
    """Seconds since boot."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def slept() -> float:
    """Seconds that the machine has slept since it booted."""
    return since_boot() - time.monotonic()
