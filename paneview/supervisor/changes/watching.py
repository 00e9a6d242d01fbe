"""Noticing changes to the configuration file, however it is written.

One stat a second costs ten microseconds and sees every kind of write: in place, by rename, over a symlink, on a network
file system. A change is applied when the file has not changed for half a second, so that an editor that writes in
steps, or removes the file and renames another into its place, is not caught in between. Nor is one that empties the
file first and then has to wait: empty files are ignored, since applying one would end every task.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from paneview.control.errors import ControlError

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds
KEEPS_STILL = 0.5

Mark = tuple[int, int, int] | None


def mark(file: Path) -> Mark:
    """A value that differs after any change of the file; None while there is no file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_unfinished(found: Mark) -> bool:
    return found is None or found[1] == 0


async def watch_file(
    file: Callable[[], Path], changed: Callable[[], Awaitable[object]], seen: Mark = None
) -> None:
    """Call ``changed`` after each change of the file that leaves something in it.

    ``seen``: the file's mark from before it was read; None: as it is now. What ``changed`` raises is logged; a
    ControlError has been reported already.
    """
    seen = seen or mark(file())
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = mark(file())
        if now == seen or _is_unfinished(now):
            continue
        await asyncio.sleep(KEEPS_STILL)
        if mark(file()) != now:
            continue
        seen = now
        try:
            await changed()
        except ControlError as error:
            logger.warning("the changed file was not applied, or not in full: %s", error.message)
        except Exception:
            # A defect of ours; go on watching, so that the next edit of the file is applied.
            logger.exception("the changed file was not applied")
