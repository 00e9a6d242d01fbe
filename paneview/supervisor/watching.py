"""Noticing that the configuration file changed, however it was written.

A look at the file's identity once a second costs ten microseconds and sees every kind of write: in place, by rename,
over a symlink, on a network file system. A change is acted upon when the file has kept still for half a second, so an
editor that writes in steps, or removes the file and renames another into its place, is not caught in between. Nor is
one that empties it first, and then has to wait: an empty file would end every task.
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
    """What changes when the file changes; None while there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_unfinished(found: Mark) -> bool:
    return found is None or found[1] == 0


async def watch_file(file: Callable[[], Path], changed: Callable[[], Awaitable[object]]) -> None:
    """Call ``changed`` after each change of the file that leaves something in it.

    What ``changed`` raises is logged; a ControlError has been reported already.
    """
    seen = mark(file())
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
            # A defect of ours. Whoever edits the file goes on doing so, and the next edit is looked at as any.
            logger.exception("the changed file was not applied")
