"""A change of the file whose handling fails unexpectedly."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paneview.supervisor.changes import reload, watching
from paneview.supervisor.changes.reload import Reloader
from tests.harness import eventually


async def test_a_defect_does_not_end_the_watching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(watching, "KEEPS_STILL", 0.01)
    file = tmp_path / "paneview.toml"
    file.write_text("1")
    read: list[str] = []
    told = asyncio.Event()

    async def changed() -> None:
        read.append(file.read_text())
        told.set()
        if len(read) == 1:
            raise RuntimeError("a defect")

    work = asyncio.create_task(watching.watch_file(lambda: file, changed))
    try:
        for number, text in enumerate(("22", "333")):
            await asyncio.sleep(0)  # the watcher has seen the file as it is
            file.write_text(text)
            await asyncio.wait_for(told.wait(), 20)
            told.clear()
            assert len(read) == number + 1
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert read == ["22", "333"]
    assert "RuntimeError: a defect" in caplog.text


async def test_an_emptied_file_is_one_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(watching, "KEEPS_STILL", 0.01)
    file = tmp_path / "paneview.toml"
    file.write_text("1")
    looks: list[watching.Mark] = []
    look = watching.mark
    monkeypatch.setattr(watching, "mark", lambda path: looks.append(look(path)) or looks[-1])
    read: list[str] = []

    async def changed() -> None:
        read.append(file.read_text())

    work = asyncio.create_task(watching.watch_file(lambda: file, changed))
    try:
        await eventually(lambda: looks)
        file.write_text("")
        await eventually(lambda: [found and found[1] for found in looks].count(0) > 3)
        file.write_text("22")
        await eventually(lambda: read == ["22"])
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_a_defect_while_reading_is_told_as_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(reload, "load_scaled", broken)
    noted: list[tuple[str, str]] = []
    journal: Any = SimpleNamespace(note=lambda kind, cause, **_more: noted.append((kind, cause)))
    supervisor: Any = SimpleNamespace(project=SimpleNamespace(file=tmp_path / "paneview.toml"))
    with pytest.raises(RuntimeError):
        await Reloader(supervisor, journal, {}, {}, lambda *_: None, lambda: None).reload("file change")
    ((kind, cause),) = noted
    assert kind == "config_rejected"
    assert "a defect" in cause
