"""The file, its gate and its transactions. One connection per broker object, one thread at a time.

A file that was removed, or has another in its place, lives on for those who hold it, and they would go on with it for
ever, alone. So each looks now and then whether the file that it holds is the one in the place, and opens that if not.
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

from paneview.broker.errors import BrokerError, UnavailableError
from paneview.broker.sqlite.bellpush import push
from paneview.broker.sqlite.boot import since_boot, this_boot
from paneview.broker.sqlite.gate import Gate
from paneview.broker.sqlite.schema import MIGRATIONS
from paneview.store.database import PRIVATE, connect, read_only_uri

# The log is copied into the database after so many changed rows, of all processes, which is some 30 MB of jobs, and
# then written over: bytes that are there are written faster than a file grows. Long rows may make it longer than that:
# then it is cut off.
CHECKPOINT_ROWS = 10_000
CHECKPOINT_BYTES = 64 * 1024 * 1024
CHECK_EVERY = 64  # commits between two looks
PATIENCE = 5.0  # seconds that others may keep us from writing
CLOSING = 1.0  # seconds that they may delay our end
ASIDE = 0.2  # seconds for what can as well be left undone
_EVENT = "INSERT INTO events (ts, kind, job, worker, detail) VALUES (?, ?, ?, ?, ?)"
BUSY = 1.0  # seconds of one wait inside SQLite
LOOK = 1.0  # seconds between two looks whether the file is still the same
_creating = threading.Lock()


class Step:
    """One writing transaction: what it may use, and the topics that its commit is news for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection.execute
        self.now = since_boot()
        self.wall = time.time()
        self.topics: set[str] = set()
        self.events: list[tuple[Any, ...]] = []
        """Written last, all at once."""
        self.heard = True
        """False: it is known that nobody has hung up a bell."""

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Everything that a query finds."""
        return self.sql(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> Any:
        """The first row, None if there is none."""
        return self.sql(statement, values).fetchone()


class Database:
    """Raises `BrokerError` if the file cannot be opened; `UnavailableError` if others are in the way for long.

    Who waits to write waits without the connection, so that another thread may read meanwhile.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.patience = PATIENCE
        """Seconds that a call waits for its turn to write."""
        self._writing = threading.Lock()
        self._lock = threading.RLock()
        self._commits = 0
        self._told_rows = 0
        self._next_checkpoint = CHECKPOINT_BYTES
        self._wal = f"{path}-wal"
        self._durable = durable
        self._file: tuple[int, int] | None = None
        self._next_look = 0.0  # monotonic
        self.opened = 0
        """How often: what stood in an earlier file is gone."""
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
                # Before it is opened: if the file is replaced in between, that is noticed.
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
        # Also at the interpreter's exit: a connection that closes by itself would checkpoint outside the gate.
        self.close = weakref.finalize(self, _close, connection, self._gate)

    def _make_ready(self, connection: sqlite3.Connection) -> None:
        """Tables, and what a reboot means. Mostly there is nothing to do, and then nobody is waited for."""
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
        """Open the file again if it is another one by now. Only while we are the one who writes."""
        if time.monotonic() < self._next_look:
            return
        if _identity(self.path) == self._file or not self.close.alive:
            self._next_look = time.monotonic() + LOOK
            return
        with self._lock:
            let_go, gate, file = self.close, self._gate, self._file
            if not self.path.parent.is_dir():  # a folder that somebody removed is not ours to make again
                raise UnavailableError(f"the queue {self.path} is gone, and its folder with it")
            try:
                self._open()
            except BaseException:
                self._gate, self._file = gate, file
                raise
        let_go()  # SQLite sees that its file is another one, and leaves the new one's log alone

    def _enter(self, until: float) -> None:
        """Be the only writer. Raises `UnavailableError` if that is not possible before ``until``."""
        if not self._writing.acquire(timeout=max(0.0, until - time.monotonic())):
            raise self._blocked()
        try:
            self._follow()
            if not self._gate.enter(until):
                raise self._blocked()
        except BaseException:  # also a Ctrl-C: whoever is not inside keeps nobody out
            self._writing.release()
            raise

    def _leave(self) -> None:
        self._gate.leave()
        self._writing.release()

    def _blocked(self) -> UnavailableError:
        holder = self._gate.holder()
        who = f": {holder}" if holder else ""
        return UnavailableError(
            f"another program keeps the queue {self.path} locked{who}",
            stopped=holder.pid if holder and holder.stopped else None,
        )

    @contextmanager
    def write(self, patience: float | None = None) -> Iterator[Step]:
        """A transaction: all of it or, if the block raises, nothing. Rings the bells once others can see it.

        ``patience``: seconds to wait for one's turn, if not as long as usual.
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
                        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                            self._connection.execute("ROLLBACK")
                        raise
                    self._commits += 1
                    if self._commits % CHECK_EVERY == 0:
                        with suppress(sqlite3.Error, OSError):  # what was written is written: later, then
                            self._checkpoint()
            finally:
                self._leave()
        except sqlite3.ProgrammingError:
            raise  # a mistake of ours
        except sqlite3.Error as error:
            raise self._explained(error) from error
        if paths and (dead := push(paths)):
            self._take_down(dead)

    def _begin(self, until: float) -> Step:
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                # Only a program that knows nothing of the gate can hold the lock, such as the sqlite3 shell.
                if not is_busy(error) or time.monotonic() > until:
                    raise
            else:
                return Step(self._connection)

    def _checkpoint(self) -> None:
        """Copy the log into the database, when it is long, and begin it anew, when no reader is in the way."""
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
        if too_long:  # behind a reader that stays, try again when the log is longer
            self._next_checkpoint = self._next_checkpoint * 2 if busy else CHECKPOINT_BYTES

    def _take_down(self, paths: list[str]) -> None:
        # What was written is written: the next one who rings them will try again.
        with suppress(BrokerError), self.write(ASIDE) as step:
            for path in paths:
                step.sql("DELETE FROM bells WHERE path = ?", (path,))
                with suppress(OSError):
                    os.unlink(path)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Everything that a query finds. No writer is waited for, not even one that is stopped."""
        try:
            if time.monotonic() >= self._next_look and self._writing.acquire(blocking=False):
                try:  # else the one who writes will look
                    self._follow()
                finally:
                    self._writing.release()
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.ProgrammingError:
            raise  # a mistake of ours
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def one(self, statement: str, *values: Any) -> Any:
        """The first row, None if there is none."""
        found = self.rows(statement, *values)
        return found[0] if found else None

    def check(self) -> None:
        """Look with new eyes: what a connection knows already hides from it that the file was written over."""
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
        """What SQLite's complaint means here."""
        if is_busy(error):
            return self._blocked()
        if code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return UnavailableError(f"the queue {self.path} cannot be written now: {error}")
        return BrokerError(f"the queue {self.path} cannot be used: {error}")

    close: weakref.finalize[[sqlite3.Connection, Gate], Database]
    """Close the connection, inside the gate if that is to be had. Also when the object goes or the program ends."""


def _bells_of(step: Step) -> set[str]:
    marks = ",".join("?" * len(step.topics))
    statement = f"SELECT path FROM bells WHERE topic IN ({marks})"  # noqa: S608 - only question marks
    return {path for (path,) in step.rows(statement, *step.topics)} if step.topics else set()


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 if it is not SQLite who complains."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds a lock."""
    return code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def _close(connection: sqlite3.Connection, gate: Gate) -> None:
    # Without the gate it is as safe: who closes last checkpoints with the file locked against everybody else, and who
    # is not the last does nothing. The gate only spares those who open it meanwhile SQLite's sleeping wait.
    gate.enter(time.monotonic() + CLOSING)
    try:
        connection.close()
    finally:
        gate.close()  # lets go of the lock


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is that lies there; None: there is none to be seen."""
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
    """Make an empty, private file in the place, if there is none.

    Whoever closes a file drops all locks that its process has on it, SQLite's too, and then two write at once. So the
    file is opened only if it is new, and no thread of this process gets as far as SQLite before it is closed again.
    """
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))


def _is_ready(connection: sqlite3.Connection) -> bool:
    """Whether it has this program's tables, and the boot it knows is this one. Only reads."""
    if connection.execute("PRAGMA user_version").fetchone()[0] != len(MIGRATIONS):
        return False
    known = connection.execute("SELECT value FROM facts WHERE name = 'boot'").fetchone()
    return bool(known == (this_boot(),))


def _set_up(path: Path, connection: sqlite3.Connection) -> None:
    """Inside the gate: nobody else writes, checkpoints or changes the schema meanwhile."""
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
