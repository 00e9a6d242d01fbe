"""``os._exit(0)`` in a handler ends the worker's process at once, and looks like an orderly exit.

The supervisor would consider the worker done and not restart it, and such a job could end one worker after another. A
worker that was told to end never exits this way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from paneview.worker.console import Console


@contextmanager
def no_quiet_end(console: Console) -> Iterator[None]:
    """Within the block, ``os._exit(0)`` in this process, but not in a fork of it, exits with status 1."""
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
