"""The file, its gate and its transactions. One connection per broker object, one thread at a time.

A file that was removed or replaced lives on for processes that have it open, and they would go on using it alone. So
each checks now and then whether its file is still the one at the path, and opens the new one if not.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from paneview.broker.boot import since_boot, slept
from paneview.broker.errors import BrokerError, UnavailableError
from paneview.broker.sqlite.bellpush import push
from paneview.broker.sqlite.gate import Gate
from paneview.broker.sqlite.schema import MIGRATIONS
from paneview.proc import boot_id
from paneview.store.database import PRIVATE, connect, read_only_uri

# After so many changed rows, counted over all processes (some 30 MB of jobs), the log is copied into the database and
# then overwritten, because overwriting is faster than growing a file. If long rows make it larger than
# CHECKPOINT_BYTES, it is truncated.
CHECKPOINT_ROWS = 10_000
CHECKPOINT_BYTES = 64 * 1024 * 1024
CHECK_EVERY = 64  # commits between two checks
PATIENCE = 5.0  # seconds to wait for other writers
CLOSING = 1.0  # seconds to wait for them when closing
ASIDE = 0.2  # seconds to wait for writes that are optional
_EVENT = "INSERT INTO events (ts, kind, job, worker, detail) VALUES (?, ?, ?, ?, ?)"
BUSY = 1.0  # seconds of one wait inside SQLite
LOOK = 1.0  # seconds between two checks whether the file is still the same
_creating = threading.Lock()


class Step:
    """One writing transaction: its clocks, and the topics to ring when it commits."""

    def __init__(self, connection: sqlite3.Connection, *, refused: bool = False) -> None:
        self.sql = connection.execute
        self.now = since_boot()
        self.wall = time.time()
        self.topics: set[str] = set()
        self.events: list[tuple[Any, ...]] = []
        """Written at the end, all at once."""
        self.heard = True
        """False if it is known that no bell is hung up."""
        self.refused = refused
        """Whether the last attempt to write failed, so that others may have failed to renew their leases."""

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """All rows of a query."""
        return self.sql(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> Any:
        """The first row of a query; None if there is none."""
        return self.sql(statement, values).fetchone()


class Database:
    """The queue's database. Raises `BrokerError` if it can't be opened, `UnavailableError` if others block it for long.

    A thread that waits to write does not hold the connection, so other threads can read meanwhile.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.patience = PATIENCE
        """Seconds a call waits for its turn to write."""
        self._writing = threading.Lock()
        self._lock = threading.RLock()
        self._commits = self._told_rows = 0
        self._next_checkpoint = CHECKPOINT_BYTES
        self._wal = f"{path}-wal"
        self._durable, self._refused = durable, False
        self._file: tuple[int, int] | None = None
        self._next_look = 0.0  # monotonic
        self.opened = 0
        """How many times a file was opened; what was in an earlier file is gone."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BrokerError(f"cannot open the queue {path}: {error.strerror}") from error
        self._open()

    def _open(self) -> None:
        path = self.path
        try:
            self._gate = Gate(path)
        except OSError as error:
            raise BrokerError(f"cannot open the queue {path}: {error.strerror}") from error
        try:
            try:
                _see_to_it(path)
                # Before opening: if the file is replaced in between, that is noticed later.
                self._file = _identity(path)
                connection = _connect(path, durable=self._durable)
                self._make_ready(connection)
            except sqlite3.Error as error:
                raise self._explained(error) from error
        except BaseException:
            self._gate.close()
            raise
        self._connection = connection
        self._told_rows, self._next_checkpoint = 0, CHECKPOINT_BYTES
        self._next_look = time.monotonic() + LOOK
        self.opened += 1
        # Also runs at the interpreter's exit: a connection that closes by itself would checkpoint outside the gate.
        self.close = weakref.finalize(self, _close, connection, self._gate)

    def _make_ready(self, connection: sqlite3.Connection) -> None:
        """Create the tables, and adjust to a reboot. Usually there is nothing to do, and then nothing to wait for."""
        try:
            if not _is_ready(connection):
                if not self._gate.enter(time.monotonic() + self.patience):
                    raise self._blocked()
                try:
                    _set_up(self.path, connection)
                finally:
                    self._gate.leave()
        except BaseException:
            connection.close()
            raise

    def _follow(self) -> None:
        """Open the file at the path if it is another one by now. Only for the thread that may write."""
        if time.monotonic() < self._next_look:
            return
        if _identity(self.path) == self._file or not self.close.alive:
            self._next_look = time.monotonic() + LOOK
            return
        with self._lock:
            let_go, gate, file = self.close, self._gate, self._file
            if not self.path.parent.is_dir():  # a folder that was removed is not ours to recreate
                raise UnavailableError(f"the queue {self.path} is gone, and its folder with it")
            try:
                self._open()
            except BaseException:
                self._gate, self._file = gate, file
                raise
        let_go()  # SQLite sees that the file at the path is another one, and leaves the new one's log alone

    def _enter(self, until: float) -> None:
        """Become the only writer. Raises `UnavailableError` if that is not possible before ``until``."""
        if not self._writing.acquire(timeout=max(0.0, until - time.monotonic())):
            raise self._blocked()
        try:
            self._follow()
            if not self._gate.enter(until):
                raise self._blocked()
        except BaseException:  # also on Ctrl-C: a thread that didn't get in must not keep others out
            self._writing.release()
            raise

    def _leave(self) -> None:
        self._gate.leave()
        self._writing.release()

    def _blocked(self) -> UnavailableError:
        self._refused = True
        holder = self._gate.holder()
        who = f": {holder}" if holder else ""
        return UnavailableError(
            f"another program keeps the queue {self.path} locked{who}",
            stopped=holder.pid if holder and holder.stopped else None,
        )

    @contextmanager
    def write(self, patience: float | None = None) -> Iterator[Step]:
        """A transaction, rolled back if the block raises. Rings the bells once the commit is visible to others.

        ``patience``: seconds to wait for the turn to write; None for `self.patience`.
        """
        until = time.monotonic() + (self.patience if patience is None else patience)
        try:
            self._enter(until)
            try:
                with self._lock:
                    step = self._begin(until)
                    try:
                        yield step
                        if step.events:
                            self._connection.executemany(_EVENT, step.events)
                        paths = _bells_of(step) if step.heard else set()
                        step.sql("COMMIT")
                    except BaseException:
                        with suppress(sqlite3.Error):  # SQLite may have rolled back on its own
                            self._connection.execute("ROLLBACK")
                        raise
                    self._refused = False
                    self._commits += 1
                    if self._commits % CHECK_EVERY == 0:
                        with suppress(sqlite3.Error, OSError):  # the commit stands: checkpoint later
                            self._checkpoint()
            finally:
                self._leave()
        except sqlite3.ProgrammingError:
            raise  # a bug of ours
        except sqlite3.Error as error:
            raise self._explained(error) from error
        if paths and (dead := push(paths)):
            self._take_down(dead)

    def _begin(self, until: float) -> Step:
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                # Only a program that ignores the gate, such as the sqlite3 shell, can hold the lock.
                if not is_busy(error) or time.monotonic() > until:
                    raise
            else:
                return Step(self._connection, refused=self._refused)

    def _checkpoint(self) -> None:
        """If the log is long, copy it into the database, and restart it unless a reader is in the way."""
        changes = self._connection.total_changes
        rows = self._gate.tally(changes - self._told_rows)
        self._told_rows = changes
        try:
            too_long = os.stat(self._wal).st_size >= self._next_checkpoint
        except FileNotFoundError:  # removed: see `_follow`
            return
        if not too_long and rows < CHECKPOINT_ROWS:
            return
        mode = "TRUNCATE" if too_long else "RESTART"
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            busy = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY:.0f}")
        self._gate.tally(-rows)
        if too_long:  # if a reader stays in the way, try again when the log is longer
            self._next_checkpoint = self._next_checkpoint * 2 if busy else CHECKPOINT_BYTES

    def _take_down(self, paths: list[str]) -> None:
        # Optional: the next process that rings them will try again.
        with suppress(BrokerError), self.write(ASIDE) as step:
            for path in paths:
                step.sql("DELETE FROM bells WHERE path = ?", (path,))
                with suppress(OSError):
                    os.unlink(path)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """All rows of a query. Never waits for a writer, so not for a stopped one either."""
        try:
            if time.monotonic() >= self._next_look and self._writing.acquire(blocking=False):
                try:  # otherwise the thread that is writing checks
                    self._follow()
                finally:
                    self._writing.release()
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.ProgrammingError:
            raise  # a bug of ours
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def one(self, statement: str, *values: Any) -> Any:
        """The first row of a query; None if there is none."""
        found = self.rows(statement, *values)
        return found[0] if found else None

    def check(self) -> None:
        """Read the file with a fresh connection: what one has cached hides that the file was overwritten."""
        if _identity(self.path) != self._file:
            return  # see `_follow`
        try:
            fresh = sqlite3.connect(read_only_uri(self.path), uri=True, timeout=BUSY, isolation_level=None)
            try:
                _is_ready(fresh)
            finally:
                fresh.close()
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> BrokerError:
        """Translate an error of SQLite."""
        if is_busy(error):
            return self._blocked()
        if code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            self._refused = True
            return UnavailableError(f"the queue {self.path} cannot be written now: {error}")
        return BrokerError(f"the queue {self.path} cannot be used: {error}")

    close: weakref.finalize[[sqlite3.Connection, Gate], Database]
    """Close the connection, inside the gate if possible. Also called when the object or the program ends."""


def _bells_of(step: Step) -> set[str]:
    marks = ",".join("?" * len(step.topics))
    statement = f"SELECT path FROM bells WHERE topic IN ({marks})"  # noqa: S608 - only question marks
    return {path for (path,) in step.rows(statement, *step.topics)} if step.topics else set()


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 if the error is not from SQLite."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds a lock."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def _close(connection: sqlite3.Connection, gate: Gate) -> None:
    # It is just as safe without the gate: the last connection to close checkpoints with the file locked against all
    # others, and any other does nothing. The gate only spares processes that open it meanwhile SQLite's sleeping wait.
    gate.enter(time.monotonic() + CLOSING)
    try:
        connection.close()
    finally:
        gate.close()  # releases the lock


def _identity(path: Path) -> tuple[int, int] | None:
    """The device and inode of the file at the path; None if it is missing or inaccessible."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    connection = connect(path)
    try:
        connection.execute(f"PRAGMA busy_timeout = {1000 * BUSY:.0f}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    except BaseException:
        connection.close()
        raise
    return connection


def _see_to_it(path: Path) -> None:
    """Create an empty, private file at the path, if there is none.

    Closing a file drops all locks its process has on it, including SQLite's, and then two could write at once. So the
    file is opened only if it is new, and no thread of this process gets as far as SQLite before it is closed again.
    """
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))


def _is_ready(connection: sqlite3.Connection) -> bool:
    """Whether the database has the current schema and was last set up in this boot. Only reads."""
    if connection.execute("PRAGMA user_version").fetchone()[0] != len(MIGRATIONS):
        return False
    known = connection.execute("SELECT value FROM facts WHERE name = 'boot'").fetchone()
    return bool(known == (boot_id(),))


def _set_up(path: Path, connection: sqlite3.Connection) -> None:
    """Set up the database. Inside the gate: no other process writes, checkpoints or changes the schema meanwhile."""
    connection.execute("PRAGMA page_size = 2048")
    connection.execute("PRAGMA journal_mode = WAL")
    _migrate(path, connection)
    _greet_boot(connection)


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise BrokerError(
            f"the queue {path} was written by a newer paneview (schema {version}): update paneview"
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _greet_boot(connection: sqlite3.Connection) -> None:
    """Adjust to a reboot: all holders and waiters are dead, and the clock has started again."""
    boot = boot_id()
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
        ("REPLACE INTO facts VALUES ('slept', ?)", (str(slept()),)),
    ):
        connection.execute(statement, values)
    connection.execute("COMMIT")
