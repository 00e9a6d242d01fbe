"""The clock that nobody can set: seconds since the machine was booted, its sleep included, and which boot it was."""

from __future__ import annotations

import time
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


def since_boot() -> float:
    """Seconds."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def this_boot() -> str:
    """A name for this boot: another one means that every time of `since_boot` is void."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil  # noqa: PLC0415 - slow to load, and Linux has no need of it

        # Moves by a second when the clock is set; to ten seconds it is as good as a name.
        return f"booted {round(psutil.boot_time(), -1):.0f}"
