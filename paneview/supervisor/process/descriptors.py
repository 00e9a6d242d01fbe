"""Open files: each run needs some in the supervisor, and a shell's default limit may be low (256 on macOS)."""

from __future__ import annotations

import logging
import resource

logger = logging.getLogger(__name__)

BASE = 128  # the store, tmux, clients, the queue
# A live run's output and its process; and a probe under way.
PER_TASK = 4


def make_room(tasks: int) -> None:
    """Raise our limit of open files to what this number of tasks may need; logs a warning if the system refuses.

    No higher, because all processes started from here inherit the limit.
    """
    needed = BASE + PER_TASK * tasks
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):
        allowed = soft
    if allowed < needed:
        logger.warning(
            "%d tasks may need %d open files, and %d are allowed: raise `ulimit -n`", tasks, needed, allowed
        )
