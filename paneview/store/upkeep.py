"""What the ingest does in addition to storing: retention, giving back space, and the plain text files.

All of it runs in small steps between two turns: no step takes longer than a few milliseconds, so incoming
output is never held up.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress

from paneview.store.intake import Intake
from paneview.store.textlog import TextLog
from paneview.store.writer import LogWriter, TaskLog

TRIM_STEP = 16  # chunks deleted at most per turn and task: 2 ms
IDLE_TRIM_STEP = 64
TEXT_RETRY = 30.0  # seconds until a text file that cannot be written is retried
AGE_CHECK = 30.0  # seconds between two checks for chunks that are too old
VACUUM_STEP = 256  # pages given back to the file system at most per round: 5 ms
VACUUM_FROM = 1024  # unused pages to keep: the next chunks need them


class Upkeep:
    """Works on the writer's connection, between two turns."""

    def __init__(self, database: sqlite3.Connection, writer: LogWriter) -> None:
        self._db = database
        self._writer = writer
        self._next_age_check = 0.0
        self.complaints: list[str] = []

    def trim(self, intake: Intake, task: TaskLog, limit: int = TRIM_STEP) -> None:
        """Delete up to `limit` chunks beyond the task's limits. Call it inside a transaction."""
        oldest = None if intake.limits.max_age is None else time.time() - intake.limits.max_age
        intake.trimming = self._writer.trim(task, intake.limits.max_bytes, oldest, limit) == limit

    def round(self, intakes: Iterable[Intake], now: float) -> bool:
        """Do a step of trimming and vacuuming; return whether there is more to do."""
        more = False
        aging = now >= self._next_age_check
        if aging:
            self._next_age_check = now + AGE_CHECK
        for intake in intakes:
            if intake.trimming or (aging and intake.limits.max_age is not None):
                with self._writer.transaction():
                    self.trim(intake, self._writer.task(intake.name), IDLE_TRIM_STEP)
                more = more or intake.trimming
        return self._vacuum() or more

    def write_texts(self, intakes: Iterable[Intake], now: float) -> bool:
        """Write a step of every text file that lags behind; return whether there is more.

        Failures are added to `complaints`.
        """
        more = False
        for intake in intakes:
            if intake.limits.text is None or not intake.text_behind or now < intake.text_retry:
                continue
            try:
                if intake.text is None:
                    intake.text = TextLog(self._db, self._writer.task(intake.name).id, intake.limits.text)
                intake.text_behind = intake.text.step()
            except OSError as error:
                with suppress(OSError):  # what the error was about; told below
                    intake.close_text()
                if not intake.text_retry:
                    self.complaints.append(f"cannot write {intake.limits.text.path}: {error}")
                intake.text_retry = now + TEXT_RETRY
            else:
                intake.text_retry = 0.0
                more = more or intake.text_behind
        return more

    def _vacuum(self) -> bool:
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        if free <= VACUUM_FROM:
            return False
        self._db.execute(f"PRAGMA incremental_vacuum({min(VACUUM_STEP, free - VACUUM_FROM)})").fetchall()
        return True
