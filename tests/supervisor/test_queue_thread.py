"""The supervisor's thread that looks after the queue: nothing ends it but its own end."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from paneview.broker import open_broker
from paneview.config.load import load_project
from paneview.rules.states import Phase
from paneview.supervisor import queue
from paneview.supervisor.queue import QueueKeeper
from tests.harness import eventually


async def test_a_defect_is_told_and_what_else_is_to_be_done_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_args: object) -> None:
        raise sqlite3.ProgrammingError("a mistake of ours")

    monkeypatch.setattr(queue, "release_dead", defect)
    monkeypatch.setattr(queue, "PAUSE", 0.05)
    (tmp_path / "paneview.toml").write_text("[queue]\n")
    told: list[tuple[str, str]] = []
    journal = SimpleNamespace(note=lambda kind, words: told.append((kind, words)))
    state = SimpleNamespace(run=None, phase=Phase.IDLE, quarantined=False, reason="", restarts=0)
    unit = SimpleNamespace(name="cook", task=SimpleNamespace(respawn_limit=3), live=None, state=state)
    supervisor = SimpleNamespace(units={"cook": unit}, going_down=False)
    keeper = QueueKeeper(supervisor, journal, tmp_path)  # type: ignore[arg-type]
    keeper.follow(load_project(tmp_path / "paneview.toml", {}))  # which has a dead worker's jobs given back
    state.quarantined, state.reason = True, "5 respawns"
    keeper.changed("cook")
    with open_broker("sqlite:", project_dir=tmp_path) as broker:
        await eventually(lambda: "cook" in broker.workers.quarantined())
    await eventually(lambda: len(told) == 2)
    assert told[0] == ("queue_lost", "defect: ProgrammingError('a mistake of ours')")
    assert told[1][0] == "queue_restored"
    assert keeper.problem is None
    await keeper.close()
