"""A copy of a task's log as a plain text file, for people and programs that read files.

It follows the database: whole lines are cleaned and appended after they are stored, each with its UTC time;
so nothing waits for it, and it may lag behind a flood. Its progress (line, size and inode of the file) is
stored after each step. A kill between writing and storing is repaired at the next start: the file is
truncated to the stored size and continued from the stored line, so each line appears once. If another
program replaced or removed the file, the copy continues in the new one with the next line.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from io import FileIO
from pathlib import Path

from msgspec import Struct

from paneview.store.clean import iso_time, plain
from paneview.store.database import PRIVATE
from paneview.store.limits import TextFile
from paneview.store.pieces import Piece
from paneview.store.snapshot import TaskLines

LONGEST = 64 * 1024  # bytes of a line; the rest of a longer line is left out
NO_FILE = "it is not a regular file"


class _Progress(Struct):
    line: int  # the next line to be written
    size: int
    inode: int


class TextLog:
    """Writes the text file of one task. Uses the ingest thread's connection, on that thread, between two turns."""

    def __init__(self, database: sqlite3.Connection, task: int, text: TextFile) -> None:
        self.text = text
        self._db = database
        self._task = task
        self._lines = TaskLines(database, None, task)
        self._file: FileIO | None = None
        row = database.execute(
            "SELECT text_line, text_size, text_inode FROM task WHERE id = ?", (task,)
        ).fetchone()
        self._at = _Progress(*row)

    def step(self) -> bool:
        """Write a bounded step of what is stored; return whether there is more. Raises OSError on failure."""
        first, end = self._lines.whole_lines()
        if self._at.line >= end:
            return False
        if self._file is not None and _inode(self.text.path) != self._at.inode:
            self.close()
            self._at.inode = 0  # replaced or removed by another program, not rotated by us
        if self._file is None:
            self._file = self._open()
        piece = next(self._lines.forward(self._at.line, most=1), None)
        if piece is None:
            return False
        texts = self._texts(piece, first, end)
        while texts:
            room = self.text.max_size - self._at.size
            fitting, used = 0, 0
            while fitting < len(texts) and (used + len(texts[fitting]) <= room or self._at.size + used == 0):
                used += len(texts[fitting])
                fitting += 1
            if not fitting:
                self._rotate()
                continue
            _write(self._file, b"".join(texts[:fitting]))
            del texts[:fitting]
            self._at.size += used
            self._at.line = min(piece.end, end) - len(texts)
            self._store()
        return self._at.line < end

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _texts(self, piece: Piece, first: int, end: int) -> list[bytes]:
        if self._at.line < piece.first:
            self._at.line = max(piece.first, first)  # retention was faster
        stop = min(piece.end, end)
        raws = piece.body.split(b"\n", stop - piece.first)
        texts = []
        for number in range(self._at.line, stop):
            ts, approx = piece.when(number)
            raw = raws[number - piece.first]
            left_out = max(len(raw) - LONGEST, 0) + piece.dropped.get(number, 0)
            more = f" … {left_out} more bytes" if left_out else ""
            text = f"{iso_time(ts)}{'~' if approx else ' '}{plain(raw[:LONGEST])}{more}\n"
            texts.append(text.encode("utf-8", "replace"))
        return texts

    def _open(self) -> FileIO:
        """Open the file, restored to its state when the progress was stored."""
        path, at = self.text.path, self._at
        if self.text.owner is None or self.text.owner.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise OSError(NO_FILE)
        if at.inode and _inode(path) != at.inode and _inode(self._numbered(1)) == at.inode:
            # Killed after a rotation: what the new file holds was never recorded as written.
            os.truncate(self._numbered(1), at.size)
            path.unlink(missing_ok=True)
        file = _open_file(path)
        status = os.fstat(file.fileno())
        if status.st_ino == at.inode and status.st_size >= at.size:
            file.truncate(at.size)
        at.inode, at.size = status.st_ino, os.fstat(file.fileno()).st_size
        self._store()
        return file

    def _rotate(self) -> None:
        """Rotate: every file takes the next number, the last one is removed."""
        self.close()
        last = max(self.text.max_files - 1, 0)
        self._numbered(last).unlink(missing_ok=True)
        for number in range(last - 1, -1, -1):
            if self._numbered(number).exists():
                self._numbered(number).rename(self._numbered(number + 1))
        path = self.text.path
        self._file = _open_file(path)
        self._at.inode, self._at.size = os.fstat(self._file.fileno()).st_ino, 0

    def _numbered(self, number: int) -> Path:
        return self.text.path if number == 0 else self.text.path.with_name(f"{self.text.path.name}.{number}")

    def _store(self) -> None:
        self._db.execute(
            "UPDATE task SET text_line = ?, text_size = ?, text_inode = ? WHERE id = ?",
            (self._at.line, self._at.size, self._at.inode, self._task),
        )


def _write(file: FileIO, data: bytes) -> None:
    """Write all of it. Unbuffered: on a full disk, a buffer would fail once more when the file is closed."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _open_file(path: Path) -> FileIO:
    """Open a regular file for appending, created if missing. Raises OSError, also if it is not a regular file.

    A pipe would block all storing until something reads it, and a device would be renamed at the next rotation.
    """
    # Non-blocking: a pipe may have been put there since the check.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
    file = FileIO(os.open(path, flags, PRIVATE), "ab")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(NO_FILE)
    return file


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
