"""The file, its gate and its transactions. One connection per broker object, one thread at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from paneview.broker.errors import BrokerError, UnavailableError
from paneview.broker.sqlite.bellpush import push
from paneview.broker.sqlite.boot import since_boot, this_boot
from paneview.broker.sqlite.schema import MIGRATIONS
from paneview.store.database import PRIVATE, connect

CHECKPOINT_BYTES = 16 * 1024 * 1024  # of the log
CHECK_EVERY = 64  # commits between two looks at its size
PATIENCE = 30.0  # seconds that a foreign program may keep the database locked


class Step:
    """One writing transaction: what it may use, and the topics that its commit is news for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection.execute
        self.now = since_boot()
        self.wall = time.time()
        self.topics: set[str] = set()

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Everything that a query finds."""
        return self.sql(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> Any:
        """The first row, None if there is none."""
        return self.sql(statement, values).fetchone()


class Database:
    """Raises `BrokerError` if the file cannot be opened; `UnavailableError` if it is locked from outside for long."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._commits = 0
        self._next_checkpoint = CHECKPOINT_BYTES
        self._wal = f"{path}-wal"
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._gate = os.open(f"{path}.gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        except OSError as error:
            raise BrokerError(f"cannot open the queue {path}: {error.strerror}") from error
        try:
            with self._passed():
                self._connection = _open(path, durable=durable)
        except BaseException:
            os.close(self._gate)
            raise
        # Also at the interpreter's exit: a connection that closes by itself would checkpoint outside the gate.
        self.close = weakref.finalize(self, _close, self._connection, self._gate)

    @contextmanager
    def _passed(self) -> Iterator[None]:
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextmanager
    def write(self) -> Iterator[Step]:
        """A transaction: all of it or, if the block raises, nothing. Rings the bells once others can see it."""
        paths: set[str] = set()
        with self._lock, _explained(self.path), self._passed():
            step = self._begin()
            try:
                yield step
                paths = _bells_of(step)
                step.sql("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise
            self._commits += 1
            if self._commits % CHECK_EVERY == 0:
                self._checkpoint()
        if paths and (dead := push(paths)):
            self._take_down(dead)

    def _begin(self) -> Step:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                # Only a program that knows nothing of the gate can hold the lock, such as the sqlite3 shell.
                if not is_busy(error) or time.monotonic() > end:
                    raise
            else:
                return Step(self._connection)

    def _checkpoint(self) -> None:
        """Copy the log into the database and empty it, when it is long and no reader is in the way."""
        if os.stat(self._wal).st_size < self._next_checkpoint:
            return
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            self._connection.execute("PRAGMA busy_timeout = 5000")
        # Behind a reader that stays, try again when the log is longer.
        self._next_checkpoint = self._next_checkpoint * 2 if busy else CHECKPOINT_BYTES

    def _take_down(self, paths: list[str]) -> None:
        with self.write() as step:
            for path in paths:
                step.sql("DELETE FROM bells WHERE path = ?", (path,))
                with suppress(FileNotFoundError):
                    os.unlink(path)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Everything that a query finds."""
        with self._lock, _explained(self.path):
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> Any:
        """The first row, None if there is none."""
        found = self.rows(statement, *values)
        return found[0] if found else None

    close: Callable[[], object]
    """Close the connection, inside the gate. Also happens when the object goes or the program ends."""


def _bells_of(step: Step) -> set[str]:
    marks = ",".join("?" * len(step.topics))
    statement = f"SELECT path FROM bells WHERE topic IN ({marks})"  # noqa: S608 - only question marks
    return {path for (path,) in step.rows(statement, *step.topics)} if step.topics else set()


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 if it is not SQLite who complains."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds a lock."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a mistake of ours
    except sqlite3.Error as error:
        if is_busy(error):
            raise UnavailableError(
                f"another program has kept the queue {path} locked for {PATIENCE:.0f} s"
            ) from error
        if code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise UnavailableError(f"the queue {path} cannot be written now: {error}") from error
        raise BrokerError(f"the queue {path} cannot be used: {error}") from error


def _close(connection: sqlite3.Connection, gate: int) -> None:
    fcntl.flock(gate, fcntl.LOCK_EX)
    try:
        connection.close()
    finally:
        os.close(gate)  # lets go of the lock


def _open(path: Path, *, durable: bool) -> sqlite3.Connection:
    """Open or create it. The gate is held: nobody else writes, checkpoints or changes the schema meanwhile."""
    with _explained(path):
        with suppress(FileExistsError):
            # Only ever created, never opened: closing a file drops every lock this process has on it, SQLite's too.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))
        connection = connect(path)
        try:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("PRAGMA page_size = 2048")
            connection.execute("PRAGMA journal_mode = WAL")
            _migrate(path, connection)
            _greet_boot(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise BrokerError(
            f"the queue {path} was written by a newer paneview (schema {version}): update paneview"
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _greet_boot(connection: sqlite3.Connection) -> None:
    """After a reboot, whoever held or waited for something is dead, and the clock has begun again."""
    boot = this_boot()
    known = connection.execute("SELECT value FROM facts WHERE name = 'boot'").fetchone()
    if known == (boot,):
        return
    now, wall = since_boot(), time.time()
    connection.execute("BEGIN IMMEDIATE")
    for statement, values in (
        ("UPDATE jobs SET lease_until = ? WHERE state = 'leased'", (now,)),
        ("UPDATE jobs SET due = ? + max(0, not_before - ?) WHERE due IS NOT NULL", (now, wall)),
        ("UPDATE workers SET beat = ? - ttl", (now,)),
        ("UPDATE leaders SET until = ?", (now,)),
        ("DELETE FROM flags WHERE until IS NOT NULL", ()),
        ("DELETE FROM bells", ()),
        ("REPLACE INTO facts VALUES ('boot', ?)", (boot,)),
    ):
        connection.execute(statement, values)
    connection.execute("COMMIT")
