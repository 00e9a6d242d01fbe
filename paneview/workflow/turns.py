"""Doing things one at a time: by name among the threads of a supervisor, and by a file among all supervisors."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from paneview.agents import folder

LOOK = 0.5  # seconds between two attempts
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class Unwanted(Exception):  # noqa: N818 - a state, not an error
    """What was to be done is not wanted any more."""


class Turns:
    """Locks by name, across threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: set[str] = set()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the lock of this name within the block."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._taken)
            self._taken.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(name)
                self._changed.notify_all()


@contextmanager
def alone(file: Path, wanted: Callable[[], bool]) -> Iterator[None]:
    """Be the only process within the block, as long as it is ``wanted``. Raises `Unwanted`, OSError.

    The file is removed at the end, so one that is locked may be there no more, and another in its place. Where the file
    system has no locks, nobody is kept out.
    """
    try:
        while (held := folder.lock(file)) is None or not _is_at(held, file):
            if held is not None:
                os.close(held)
            check(wanted)
            time.sleep(LOOK)  # nothing wakes us: the holder may be stopped, or be killed
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        held = None
    try:
        check(wanted)  # by what is known now: the one before us may have done it
        yield
    finally:
        file.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def check(wanted: Callable[[], bool]) -> None:
    """Raise `Unwanted` unless it is wanted."""
    if not wanted():
        raise Unwanted("it is not wanted any more")


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
