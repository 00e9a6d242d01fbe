"""Reading files that people name: a FIFO would block, a device may have no end, JSON may be nested too deeply."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

LARGEST = 16 * 1024 * 1024  # bytes


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file; never blocks. Raises OSError, also for any other kind and for one too large."""
    with open(path, "rb", opener=_open) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is not a regular file")
        content: bytes = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(0, f"it is larger than {LARGEST >> 20} MB")
    return content


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """Like `read_file`, but text whose lines end in ``\\n``. Raises OSError, UnicodeDecodeError."""
    return read_file(path).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def load_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is invalid or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
