"""Heartbeats: a small file per worker, next to the database.

A heartbeat must not need the write lock: if a process were stopped while holding it, every other worker would seem
silent, too. So a heartbeat overwrites its own file with a time and the boot's name, which needs no lock and, once the
file exists, no disk space; nor does it take a lock to find out which workers are silent.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from paneview.broker.boot import since_boot
from paneview.broker.errors import UnavailableError
from paneview.proc import boot_id
from paneview.store.database import PRIVATE

NEVER = float("-inf")


class Beats:
    """The heartbeats of one queue's workers, in seconds since this boot."""

    def __init__(self, database: Path) -> None:
        self._folder = f"{database}.beats"
        self._boot = boot_id()

    def _path(self, worker: str) -> str:
        return f"{self._folder}/{quote(worker, safe='').replace('.', '%2E')}"

    def sign(self, worker: str, moment: float | None = None) -> None:
        """Record that a worker is alive. Raises `UnavailableError` if that fails. Only tests give a `moment`."""
        text = f"{since_boot() if moment is None else moment:017.6f} {self._boot}\n".encode()
        try:
            descriptor = self._open(self._path(worker))
            try:
                os.pwrite(descriptor, text, 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnavailableError(
                f"a heartbeat cannot be written to {self._folder}: {error.strerror}"
            ) from error

    def _open(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(path, flags, PRIVATE)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(self._folder, 0o700)
            return os.open(path, flags, PRIVATE)

    def last(self, worker: str) -> float:
        """The worker's last heartbeat, in seconds since this boot; minus infinity if there is none."""
        try:
            text = Path(self._path(worker)).read_bytes().decode()
            moment, boot = text.split()
            return float(moment) if boot == self._boot else NEVER
        except (OSError, ValueError):
            return NEVER

    def forget(self, worker: str) -> None:
        """Remove the file of a worker that is gone."""
        with suppress(OSError):
            os.unlink(self._path(worker))
