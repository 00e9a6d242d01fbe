"""Every contract test runs against all three brokers, on real stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paneview.broker import Broker
from tests.broker.labs import DirectoryLab, Lab, RedisLab, SqliteLab, opened
from tests.broker.servers import RedisServer, redis_server

KINDS = ("sqlite", "redis", "directory")


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """A Redis with an append-only file, for all tests of this process."""
    with redis_server() as one:
        yield one


def make_lab(kind: str, folder: Path, request: pytest.FixtureRequest) -> Lab:
    """An empty queue of this kind."""
    if kind == "sqlite":
        return SqliteLab(folder)
    if kind == "redis":
        return RedisLab(request.getfixturevalue("server"))
    return DirectoryLab(folder)


@pytest.fixture(params=KINDS)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Each broker in turn."""
    with opened(make_lab(request.param, tmp_path, request)) as one:
        yield one


@pytest.fixture
def broker(lab: Lab) -> Broker:
    """One object of it."""
    return lab.open()
