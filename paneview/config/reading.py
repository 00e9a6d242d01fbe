"""Reading what may stand in a file's place: a FIFO keeps its reader waiting, and a device may have no end."""

from __future__ import annotations

import os
import stat

LARGEST = 16 * 1024 * 1024  # bytes


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file, without ever waiting. Raises OSError, also for what is none or too large."""
    with open(path, "rb", opener=_open) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is not a regular file")
        content: bytes = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(0, f"it is larger than {LARGEST >> 20} MB")
    return content


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
