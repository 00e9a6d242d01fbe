"""The screen's tests run in one time zone, without animations, and never ask the terminal for its colours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual import _wait
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from tests.cli.support import environment, run
from tests.harness import Sandbox
from tests.tui.pane import FILE


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each key Textual's pilot waits twice until the process is idle, at which it looks but 50 times a second."""
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", 0.008)
    monkeypatch.setattr(_wait, "SLEEP_IDLE", 0.0008)


_parse = Stylesheet._parse_rules
_parsed: dict[object, list[RuleSet]] = {}


@pytest.fixture(autouse=True, scope="session")
def known_styles() -> Iterator[None]:
    """What style sheets say is found out once, not by each of hundreds of screens anew: nearly half of their start."""

    def parse(sheet: Stylesheet, *asked: Any, **more: Any) -> list[RuleSet]:
        key = (asked, tuple(more.items()), tuple(sheet._variables.items()))
        if key not in _parsed:
            _parsed[key] = _parse(sheet, *asked, **more)
        return _parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse)
        yield


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
