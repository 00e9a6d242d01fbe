"""Places and parts of the store's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paneview.store.ingest import LogIngest
from paneview.store.reader import LogReader
from tests.store.helpers import Filled


@pytest.fixture
def logs_db(tmp_path: Path) -> Path:
    """Where the log database of this test is."""
    return tmp_path / "logs.db"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """The spool of this test, made."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def trouble() -> list[str | None]:
    """What ingests have complained about."""
    return []


@pytest.fixture
def ingest(logs_db: Path, spool: Path, trouble: list[str | None]) -> Iterator[LogIngest]:
    """An ingest at work; stopped after the test."""
    ingest = LogIngest(logs_db, spool, on_trouble=trouble.append)
    ingest.start()
    yield ingest
    ingest.stop()


@pytest.fixture
def reader(logs_db: Path, spool: Path) -> Iterator[LogReader]:
    """A reader; closed after the test."""
    with LogReader(logs_db, spool) as reader:
        yield reader


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    """A log database to be filled by hand; closed after the test."""
    filled = Filled(tmp_path)
    yield filled
    filled.close()
