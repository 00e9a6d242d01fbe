"""Export: one stream of events and lines, by time, without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paneview.config.secrets import MASK, Masker
from paneview.store.export import Selection, export
from paneview.store.rows import Change, EventRow
from paneview.store.snapshot import Span
from paneview.store.state import StateStore
from paneview.store.state_reader import SyncStateReader
from tests.store.helpers import Filled


@pytest.fixture
async def state(tmp_path: Path) -> Any:
    """A state with three events, at 10, 20 and 30 s."""
    store = await StateStore.open(tmp_path / "state.db")
    events = [
        EventRow(1, 10.0, "task_started", "web", 1, "start", "user:cli", {"env": {"TOKEN": "hunter2"}}),
        EventRow(2, 20.0, "task_exited", "db", 2, "exit with hunter2", None, {"codes": [1, "hunter2"]}),
        EventRow(3, 30.0, "supervisor_stopped", None, None, None, "supervisor", {}),
    ]
    await store.put(Change(events=events))
    await store.close()
    with SyncStateReader(tmp_path / "state.db") as reader:
        yield reader


@pytest.fixture
def logs(filled: Filled) -> Iterator[Filled]:
    """Lines of two tasks between the events."""
    filled.write("web", b"\x1b[32mpassword hunter2\x1b[0m\r\n", 11.0)
    filled.write("db", b"first\n", 15.0, run=2)
    filled.write("web", b"while away\n", 25.0, until=29.0)
    return filled


def test_json_lines_by_time(state: SyncStateReader, logs: Filled) -> None:
    found = [json.loads(line) for line in export(state, logs.reader, Selection())]
    assert [(record["type"], record["ts"]) for record in found] == [
        ("event", "1970-01-01T00:00:10.000Z"),
        ("log", "1970-01-01T00:00:11.000Z"),
        ("log", "1970-01-01T00:00:15.000Z"),
        ("event", "1970-01-01T00:00:20.000Z"),
        ("log", "1970-01-01T00:00:25.000Z"),
        ("event", "1970-01-01T00:00:30.000Z"),
    ]
    assert found[1] == {
        "type": "log",
        "ts": "1970-01-01T00:00:11.000Z",
        "task": "web",
        "run": 1,
        "line": 0,
        "text": "password hunter2",
    }
    assert found[4]["approx"] is True
    assert found[0] == {
        "type": "event",
        "ts": "1970-01-01T00:00:10.000Z",
        "id": 1,
        "event": "task_started",
        "task": "web",
        "run": 1,
        "cause": "start",
        "actor": "user:cli",
        "detail": {"env": {"TOKEN": "hunter2"}},
    }


@pytest.mark.parametrize("form", ["jsonl", "text"])
def test_secrets_do_not_go_out(state: SyncStateReader, logs: Filled, form: Any) -> None:
    lines = list(export(state, logs.reader, Selection(), form=form, masker=Masker((), ["hunter2"])))
    assert len(lines) == 6
    assert "hunter2" not in "".join(lines)
    assert "".join(lines).count(MASK) == 4


def test_text_is_for_people(state: SyncStateReader, logs: Filled) -> None:
    assert list(export(state, logs.reader, Selection(), form="text"))[1:] == [
        "1970-01-01T00:00:11.000Z web | password hunter2",
        "1970-01-01T00:00:15.000Z db | first",
        '1970-01-01T00:00:20.000Z * task_exited db exit with hunter2 codes=[1, "hunter2"]',
        "1970-01-01T00:00:25.000Z~web | while away",
        "1970-01-01T00:00:30.000Z * supervisor_stopped",
    ]


def test_a_selection_by_task_time_and_kind(state: SyncStateReader, logs: Filled) -> None:
    def kinds(selection: Selection) -> list[tuple[str, str | None]]:
        return [(r["type"], r["task"]) for r in map(json.loads, export(state, logs.reader, selection))]

    assert kinds(Selection(tasks=["db"])) == [("log", "db"), ("event", "db")]
    assert kinds(Selection(span=Span(11.0, 20.0))) == [("log", "web"), ("log", "db")]
    assert kinds(Selection(span=Span(20.0), logs=False)) == [("event", "db"), ("event", None)]
    assert kinds(Selection(events=False, tasks=["web"])) == [("log", "web"), ("log", "web")]


def test_long_lines_are_cut_and_say_so(logs: Filled) -> None:
    logs.write("web", b"x" * 100_000 + b"\n", 40.0)
    last = [json.loads(line) for line in export(None, logs.reader, Selection())][-1]
    assert len(last["text"]) + last["cut"] == 100_000
    text = list(export(None, logs.reader, Selection(), form="text"))[-1]
    assert text.endswith(f"xxx … {last['cut']} more bytes")
