"""``os._exit(0)`` in a handler ends the worker's process at once, and looks as if it had been told to end.

Who supervises it would take it for done and leave it so, and one such job after the other would end every worker. A
worker that was told to end never comes this way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from paneview.worker.console import Console


@contextmanager
def no_quiet_end(console: Console) -> Iterator[None]:
    """Within the block, an ``os._exit(0)`` of this very process ends it with 1; a fork of it ends as it likes."""
    pid, leave = os.getpid(), os._exit

    def tell_and_leave(status: int) -> NoReturn:
        if status == 0 and os.getpid() == pid:
            console.tell("error", "a handler has ended this process (os._exit)", level="ERROR")
            status = 1
        leave(status)

    os._exit = tell_and_leave
    try:
        yield
    finally:
        os._exit = leave
