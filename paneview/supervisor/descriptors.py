"""Open files: each run takes a supervisor some, and what a shell allows by default may be few (256 on macOS)."""

from __future__ import annotations

import logging
import resource

logger = logging.getLogger(__name__)

BASE = 128  # the store, tmux, clients, the queue
# A live run's output and its process; and a probe under way.
PER_TASK = 4


def make_room(tasks: int) -> None:
    """Allow ourselves as many open files as that number of tasks may need; a warning where the system refuses.

    Only as many, since whatever is started from here inherits the limit.
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
