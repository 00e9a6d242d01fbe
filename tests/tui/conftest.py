"""The screen's tests run in one time zone, without animations, and never ask the terminal for its colours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual import _wait

from tests.cli.support import environment, run
from tests.harness import Sandbox
from tests.tui.pane import FILE


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each key Textual's pilot waits twice until the process is idle, at which it looks but 50 times a second."""
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", 0.008)
    monkeypatch.setattr(_wait, "SLEEP_IDLE", 0.0008)


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PANEVIEW_THEME", "dark")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.fixture
def folder(sandbox: Sandbox, tmux_socket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = sandbox.root / "demo"
    place.mkdir()
    (place / "paneview.toml").write_text(FILE)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    yield place
    run("down", cwd=place)
