"""Reading what people name and write: a FIFO keeps its reader waiting, a device may have no end, JSON no bottom."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

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


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """As `read_file`, as text whose lines end in ``\\n``. Raises OSError, UnicodeDecodeError."""
    return read_file(path).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def load_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError for what is none, or lies too deep in itself to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
