"""Opening databases: privacy, migrations, damage."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from paneview.store.database import (
    StoreError,
    StoreTooNewError,
    connect,
    connect_read_only,
    is_damaged,
    prepare,
)

FIRST = ("CREATE TABLE a (x); INSERT INTO a VALUES (1)",)
SECOND = (*FIRST, "ALTER TABLE a ADD COLUMN y DEFAULT 2; CREATE TABLE b (z)")


def contents(path: Path) -> list[tuple[object, ...]]:
    with closing(connect_read_only(path)) as database:
        return database.execute("SELECT * FROM a").fetchall()


def test_migrations_go_forward_once(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    assert prepare(path, FIRST) is None
    assert contents(path) == [(1,)]
    assert prepare(path, SECOND) is None
    assert prepare(path, SECOND) is None
    assert contents(path) == [(1, 2)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    prepare(path, FIRST)
    with pytest.raises(StoreError, match="no such table"):
        prepare(path, (*FIRST, "CREATE TABLE b (z); INSERT INTO missing VALUES (1)"))
    prepare(path, SECOND)
    assert contents(path) == [(1, 2)]


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    prepare(path, SECOND)
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError, match=r"newer paneview \(schema 2, this one knows 1\)"):
        prepare(path, FIRST)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [b"garbage " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_moved_aside(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(damage)
    Path(f"{path}-wal").write_bytes(b"old")
    moved = prepare(path, FIRST)
    assert moved is not None
    assert moved.name.startswith("x.db.damaged-")
    assert moved.read_bytes() == damage
    assert contents(path) == [(1,)]
    path.write_bytes(damage)
    again = prepare(path, FIRST)
    assert again not in (None, moved)


def test_a_stale_wal_does_not_get_into_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    prepare(path, FIRST)
    with closing(connect(path)) as database:
        database.execute("INSERT INTO a VALUES (99)")
        wal = Path(f"{path}-wal").read_bytes()
    path.unlink()
    Path(f"{path}-wal").write_bytes(wal)
    prepare(path, FIRST)
    assert contents(path) == [(1,)]


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    prepare(path, FIRST)
    assert contents(path) == [(1,)]


def test_no_place_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        prepare(tmp_path / "missing" / "x.db", FIRST)
    with pytest.raises(StoreError, match="cannot open"):
        prepare(tmp_path, FIRST)
    with pytest.raises(StoreError, match="cannot read"):
        connect_read_only(tmp_path / "missing.db")


def test_a_reader_can_neither_write_nor_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    prepare(path, FIRST)
    with closing(connect(path)) as writer:
        writer.execute("INSERT INTO a VALUES (2)")
        size = os.path.getsize(f"{path}-wal")
        with closing(connect_read_only(path)) as reader:
            assert reader.execute("SELECT count(*) FROM a").fetchone() == (2,)
            for statement in ("INSERT INTO a VALUES (3)", "CREATE TABLE c (x)"):
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    reader.execute(statement)
            with pytest.raises(sqlite3.OperationalError):
                reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert os.path.getsize(f"{path}-wal") == size


def test_what_a_killed_writer_left_is_read_and_kept(tmp_path: Path) -> None:
    """The last one to close is a reader: the WAL must stay, for it holds what is committed."""
    path = tmp_path / "x.db"
    prepare(path, FIRST)
    child = os.fork()
    if child == 0:
        writer = connect(path)
        writer.execute("INSERT INTO a VALUES (2)")
        os._exit(9)  # without closing anything
    os.waitpid(child, 0)
    assert contents(path) == [(1,), (2,)]
    assert contents(path) == [(1,), (2,)]
    assert os.path.getsize(f"{path}-wal") > 0


def test_damage_is_told_from_other_trouble(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"garbage " * 1000)
    with closing(connect_read_only(path)) as database, pytest.raises(sqlite3.DatabaseError) as damage:
        database.execute("SELECT * FROM a")
    assert is_damaged(damage.value)
    assert not is_damaged(sqlite3.OperationalError("database or disk is full"))


def test_what_is_no_database_is_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError) as error:
        connect(path)
    assert is_damaged(error.value)
    assert str(path) not in [file.path for file in psutil.Process().open_files()]
