"""Opening the databases: private files, forward-only migrations, and damage that must not stop supervision.

A file that SQLite reports as damaged (or as no database at all) is moved aside under a timestamped name,
with its ``-wal`` and ``-shm`` companions, and a new one is created: losing history is bad, losing
supervision is worse. A database written by a newer paneview is never touched.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

PRIVATE = 0o600
BUSY_TIMEOUT = 5.0  # seconds; only ever needed while a reader recovers the WAL of a killed writer
COMPANIONS = ("-wal", "-shm", "-journal")


class StoreError(Exception):
    """The store cannot be used; the message is a single line for the user."""


class StoreTooNewError(StoreError):
    """The database was written by a newer program than this one."""


def is_damaged(error: BaseException) -> bool:
    """Whether SQLite reports that the file's content is corrupt, not just that it cannot be accessed."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def connect(path: Path) -> sqlite3.Connection:
    """A writing connection with explicit transactions; any thread may use it, one at a time. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    # Survives any kill; a power cut may undo the last commits.
    return _with_pragma(connection, "synchronous = NORMAL")


def _with_pragma(connection: sqlite3.Connection, pragma: str) -> sqlite3.Connection:
    """Set the pragma and return the connection; close it if that fails."""
    try:
        connection.execute(f"PRAGMA {pragma}")
    except BaseException:  # no one else has a reference to close it
        connection.close()
        raise
    return connection


def read_only_uri(path: Path) -> str:
    """The URI of a connection that can neither write nor checkpoint."""
    return path.absolute().as_uri() + "?mode=ro"


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A read-only connection, usable while a writer is alive and after it was killed.

    Raises `StoreError` if there is no such database.
    """
    try:
        connection = sqlite3.connect(
            read_only_uri(path), uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        return _with_pragma(connection, "query_only = ON")
    except sqlite3.Error as error:
        raise StoreError(f"cannot read {path}: {error}") from error


def prepare(path: Path, migrations: Sequence[str], *, pragmas: str = "") -> Path | None:
    """Create the database or migrate it to the newest schema; return where a damaged one was moved, if any.

    `pragmas` are set before the first table is created. Raises `StoreTooNewError`, or `StoreError` if the
    path cannot be used.
    """
    try:
        try:
            _migrate(path, migrations, pragmas)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            moved = move_aside(path)
            _migrate(path, migrations, pragmas)
            return moved
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot open {path}: {error}") from error
    return None


def move_aside(path: Path) -> Path:
    """Rename a damaged database and its companions; return the new name of the database."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in COMPANIONS:
        companion = Path(f"{path}{suffix}")
        if companion.exists():
            companion.rename(f"{target}{suffix}")
    path.rename(target)
    return target


def _make(path: Path, migrations: Sequence[str], pragmas: str) -> None:
    """Make a new database under another name, then rename it: readers never see a half-made one.

    Until then nothing of it has to survive, so all of it is written to disk at once, at the end.
    """
    draft = path.with_name(path.name + ".new")
    for leftover in (draft, *_companions(draft), *_companions(path)):
        leftover.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT, PRIVATE))
    connection = connect(draft)
    try:
        connection.executescript(f"PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; {pragmas}")
        _apply(connection, migrations, 0)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    _sync(draft)
    draft.rename(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _migrate(path: Path, migrations: Sequence[str], pragmas: str) -> None:
    if not path.exists():
        _make(path, migrations, pragmas)
        return
    connection = connect(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise StoreTooNewError(
                f"{path} was written by a newer paneview "
                f"(schema {version}, this one knows {len(migrations)}): update paneview"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        _apply(connection, migrations, version)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        connection.close()


def _apply(connection: sqlite3.Connection, migrations: Sequence[str], version: int) -> None:
    for number, script in enumerate(migrations[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _companions(path: Path) -> list[Path]:
    return [Path(f"{path}{suffix}") for suffix in COMPANIONS]
