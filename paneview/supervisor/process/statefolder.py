"""The state folder of a running supervisor, which may be removed under it.

If the socket is gone, no client can connect, so it listens again. If the lock is gone, a second supervisor may start,
and if a database is gone, all records go to a file that is never found again: then this supervisor ends and another
takes its place, which finds the tasks by their panes. The records are lost; the tasks go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from paneview.config import paths
from paneview.control.server import ControlServer
from paneview.control.socketfile import UnsafeSocket

REMOVED = "its state was removed; another supervisor takes its place"
LOOK_EVERY = 1.0  # seconds

logger = logging.getLogger(__name__)


async def removed(folder: Path, descriptor: int, server: ControlServer) -> None:
    """Return when the folder's lock is no longer the one that we hold, or what is recorded there is gone for good.

    Until then, keep the socket in place.
    """
    lock, held = paths.lock_file(folder), os.fstat(descriptor)
    others = [of(folder) for of in (paths.state_db, paths.logs_db, paths.spool_dir, paths.exits_dir)]
    missing: set[Path] = set()
    while is_there(lock, held):
        # Not at the first look: a damaged database is set aside and created anew.
        before, missing = missing, {path for path in others if not path.exists()}
        if before & missing:
            return
        try:
            server.listen_again()
        except (UnsafeSocket, OSError) as error:
            logger.warning("nobody can connect: %s", error)
        await asyncio.sleep(LOOK_EVERY)


def is_there(lock: Path, held: os.stat_result) -> bool:
    """Whether this file is still the one that is held."""
    try:
        return os.path.samestat(os.stat(lock), held)
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
