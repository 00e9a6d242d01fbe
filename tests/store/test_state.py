"""The state store: what is put is there after any kill, in order, and the past does not slow the present."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from paneview.store.database import StoreError, connect, connect_read_only
from paneview.store.rows import Change, EventRow, RunRow
from paneview.store.state import StateStore
from paneview.store.state_reader import SyncStateReader
from paneview.store.state_schema import EventFilter
from paneview.store.state_writer import Keep
from tests.harness import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state database of this test is."""
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[StateStore]:
    """An open store; closed after the test."""
    store = await StateStore.open(path)
    yield store
    await store.close()


def event(
    number: int, task: str | None = "web", kind: str = "task_started", ts: float | None = None
) -> EventRow:
    return EventRow(
        number, number if ts is None else ts, kind, task, None, "because", "supervisor", {"n": number}
    )


def damage(path: Path, offset: int, with_: bytes) -> None:
    path.touch()
    size = max(path.stat().st_size - offset, 8000)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(with_ * (size // len(with_)))


def beginning(path: Path) -> bytes:
    return path.read_bytes()[:8]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_an_empty_store_begins_at_one(store: StateStore) -> None:
    loaded = await store.load()
    assert (loaded.tasks, loaded.runs, loaded.next_run, loaded.next_event) == ({}, {}, 1, 1)
    assert loaded.moved_aside is None


async def test_what_is_put_is_loaded_again(path: Path) -> None:
    store = await StateStore.open(path)
    whole = RunRow(3, "web", 1.5, 2.5, 1, 9, "start", "exit", 123, 456, "%1", "@2", "boot", 77, 88)
    await store.put(Change(tasks={"web": {"restarts": 2, "text": "grüße"}, "gone": {"x": 1}}))
    await store.put(Change(tasks={"gone": None}, runs=[RunRow(1, "web", 0.5), RunRow(2, "web", 1.0, 1.2)]))
    await store.put(Change(runs=[whole, RunRow(4, "db", 3.0)], events=[event(1), event(2)]))
    await store.close()
    again = await StateStore.open(path)
    loaded = await again.load()
    assert loaded.tasks == {"web": {"restarts": 2, "text": "grüße"}}
    assert loaded.runs == {1: RunRow(1, "web", 0.5), 3: whole, 4: RunRow(4, "db", 3.0)}
    assert (loaded.next_run, loaded.next_event) == (5, 3)
    assert await again.runs("web", 2) == [whole, RunRow(2, "web", 1.0, 1.2)]
    assert await again.events() == [event(1), event(2)]
    await again.close()
    assert mode(path) == 0o600


async def test_a_change_is_durable_when_its_future_is_done(store: StateStore, path: Path) -> None:
    await store.put(Change(tasks={"web": {"n": 1}}, events=[event(1)]))
    with SyncStateReader(path) as reader:
        assert reader.tasks() == {"web": {"n": 1}}
        assert reader.events(EventFilter()) == [event(1)]


async def test_many_puts_share_a_commit_and_the_last_wins(store: StateStore, path: Path) -> None:
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    store._writer.connection.set_trace_callback(count)
    futures = [
        store.put(Change(tasks={"web": {"n": number}}, events=[event(number)])) for number in range(1, 2001)
    ]
    await asyncio.gather(*futures)
    assert commits < 10
    assert (await store.load()).tasks == {"web": {"n": 2000}}
    assert len(await store.events(limit=5000)) == 2000


async def test_events_by_task_kind_time_and_id(store: StateStore) -> None:
    kinds = ["task_started", "task_exited", "auto_restart"]
    rows = [event(n, ["web", "db", None][n % 3], kinds[n % 2], ts=1000.0 + n) for n in range(1, 301)]
    await store.put(Change(events=rows))
    ask = store.events
    assert await ask() == rows
    assert await ask(limit=5) == rows[-5:]
    assert await ask(task="web") == [row for row in rows if row.task == "web"]
    assert await ask(task="web", limit=2) == [row for row in rows if row.task == "web"][-2:]
    assert await ask(kinds=["task_exited", "x"]) == [row for row in rows if row.kind == "task_exited"]
    assert await ask(kinds=[]) == []
    assert await ask(since=1200.0, until=1210.0) == [row for row in rows if 1200 <= row.ts < 1210]
    assert await ask(since=9999.0) == []
    assert await ask(after_id=295) == rows[295:]
    assert await ask(after_id=0, limit=3) == rows[:3]
    assert (
        await ask(task="db", kinds=["task_started"], since=1100.0, after_id=150, limit=4)
        == [row for row in rows if row.task == "db" and row.kind == "task_started" and row.id > 150][:4]
    )


async def test_events_of_a_task_with_replicas_are_those_of_all(store: StateStore) -> None:
    names = ["web", "web.1", "web.2", "web2", "web-x", "we", None]
    rows = [event(n, names[n % 7], ts=1000.0 + n) for n in range(1, 71)]
    await store.put(Change(events=rows))
    mine = [row for row in rows if row.task in {"web", "web.1", "web.2"}]
    assert await store.events(task="web") == mine
    assert await store.events(task="web", limit=4) == mine[-4:]
    assert await store.events(task="web", after_id=20, limit=4) == [row for row in mine if row.id > 20][:4]
    assert await store.events(task="web.1") == [row for row in rows if row.task == "web.1"]


async def test_a_clock_that_stepped_back_hides_no_event(store: StateStore) -> None:
    rows = [event(n, ts=ts) for n, ts in enumerate([100.0, 200.0, 50.0, 60.0, 300.0], 1)]
    await store.put(Change(events=rows))
    assert [row.id for row in await store.events(since=150.0)] == [2, 5]
    assert [row.id for row in await store.events(since=55.0, until=150.0)] == [1, 4]


async def test_old_events_and_runs_go_in_steps(path: Path) -> None:
    store = await StateStore.open(path, keep=Keep(events=1000, runs=10))
    for start in range(1, 5001, 100):
        await store.put(
            Change(
                events=[event(number) for number in range(start, start + 100)],
                runs=[RunRow(start + n, "web", 1.0, 2.0) for n in range(2)],
            )
        )
    events = await store.events(limit=100_000)
    assert [row.id for row in events] == list(range(4001, 5001))
    assert [run.id for run in await store.runs("web", 100)] == [
        n for s in range(4901, 4400, -100) for n in (s + 1, s)
    ][:10]
    await store.close()
    aged = await StateStore.open(path, keep=Keep(events_age=3600))
    await aged.put(Change(events=[event(6000, ts=time.time())]))
    await eventually(lambda: _put_and_count(aged))
    await aged.close()


async def _put_and_count(store: StateStore) -> bool:
    await store.put(Change(events=[event(6001, ts=time.time())]))
    return len(await store.events(limit=100_000)) == 2


async def test_runs_that_have_not_ended_are_never_forgotten(path: Path) -> None:
    store = await StateStore.open(path, keep=Keep(runs=3))
    await store.put(Change(runs=[RunRow(1, "web", 1.0)]))
    for number in range(2, 20):
        await store.put(Change(runs=[RunRow(number, "web", 1.0, 2.0)]))
    assert sorted((await store.load()).runs) == [1, 19]
    await store.close()


async def test_tens_of_thousands_of_events_slow_nothing(path: Path) -> None:
    store = await StateStore.open(path)
    rows = [event(n, f"task{n % 50}", f"kind{n % 7}", ts=1000.0 + n) for n in range(1, 20_001)]
    await store.put(Change(events=rows))
    begin = time.perf_counter()
    for number in range(50):
        assert len(await store.events(task=f"task{number}", limit=20)) == 20
        assert len(await store.events(since=1000.0 + 19_900, limit=20)) == 20
        await store.put(Change(tasks={"web": {"n": number}}, events=[event(200_000 + number)]))
    assert time.perf_counter() - begin < 5
    begin = time.perf_counter()
    await store.load()
    assert time.perf_counter() - begin < 3
    await store.close()


async def test_garbage_is_moved_aside_and_supervision_goes_on(path: Path) -> None:
    damage(path, 0, b"garbage ")
    store = await StateStore.open(path)
    loaded = await store.load()
    assert loaded.moved_aside is not None
    assert beginning(loaded.moved_aside) == b"garbage "
    # Panes and spool may know any run id that was ever given: new ones are beyond all of them.
    assert loaded.next_run > 1_700_000_000
    await store.put(Change(tasks={"web": {"n": 1}}))
    await store.close()
    with SyncStateReader(path) as reader:
        assert reader.tasks() == {"web": {"n": 1}}


async def test_damage_inside_is_found_when_loading(path: Path) -> None:
    store = await StateStore.open(path)
    await store.put(Change(tasks={f"task{n}": {"text": "x" * 200} for n in range(500)}))
    await store.close()
    damage(path, 4096, b"\xff" * 8)
    again = await StateStore.open(path)
    loaded = await again.load()
    assert (loaded.tasks, loaded.moved_aside is None) == ({}, False)
    await again.put(Change(tasks={"web": {}}))
    await again.close()


async def test_a_full_disk_is_told_and_waited_for(path: Path) -> None:
    told: list[str | None] = []
    store = await StateStore.open(path, on_trouble=told.append)
    await store.put(Change(events=[event(1)]))
    store._writer.connection.execute("PRAGMA max_page_count = 1")
    futures = [
        store.put(Change(events=[event(n, kind="x" * 1000)], tasks={"web": {"n": n}})) for n in range(2, 100)
    ]
    await eventually(lambda: bool(told))
    assert "full" in (told[0] or "")
    assert not futures[-1].done()
    assert len(set(futures)) == 1  # they may be many before there is room
    store._writer.connection.execute("PRAGMA max_page_count = 100000")
    await asyncio.gather(*futures)
    assert told[1:] == [None]
    assert len(await store.events()) == 99
    await store.close()


async def test_events_that_a_full_disk_kept_waiting_for_too_long_are_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("paneview.store.state_writer.MAX_QUEUED_EVENTS", 10)
    store = await StateStore.open(path)
    await store.put(Change(events=[event(1)]))
    store._writer.connection.execute("PRAGMA max_page_count = 1")
    failing = store.put(Change(events=[event(n, kind="x" * 1000) for n in range(2, 20)]))
    await eventually(lambda: bool(store.trouble))
    store._writer.connection.execute("PRAGMA max_page_count = 100000")
    await failing
    kept = [1, *range(10, 20)]
    assert sorted(found.id for found in await store.events()) == kept
    assert f"the oldest {19 - len(kept)} events were given up" in caplog.text
    await store.close()


async def test_a_damaged_one_is_begun_anew_as_soon_as_there_is_room(path: Path) -> None:
    told: list[str | None] = []
    store = await StateStore.open(path, on_trouble=told.append)
    await store.put(Change(tasks={f"task{n}": {"text": "x" * 200} for n in range(500)}))
    store._writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    store._writer.connection.execute("PRAGMA cache_size = 0")
    damage(path, 4096, b"\xff" * 8)
    draft = path.with_name("state.db.new")
    draft.mkdir()  # no new one can be made in its place
    waiting = store.put(Change(events=[event(1)], tasks={f"task{n}": {} for n in range(500)}))
    await eventually(lambda: bool(told))
    assert "cannot write" in (told[0] or "")
    with pytest.raises(StoreError):
        await store.events()
    draft.rmdir()
    await waiting
    assert told[1:] == [None]
    assert len(await store.events()) == 1
    await store.close()


async def test_text_of_odd_bytes_is_stored_as_text(path: Path) -> None:
    """A path, a command line or a client's name need not be UTF-8: Python then has it with halves of surrogates."""
    odd = "caf\udce9 \udcff ü"
    store = await StateStore.open(path)
    change = Change(
        tasks={"web": {"reason": odd, "why": [{odd: odd}]}},
        runs=[RunRow(1, "web", 1.0, 2.0, cause=odd, end_reason=odd)],
        events=[EventRow(1, 1.0, "task_exited", "web", 1, odd, odd, {"path": odd})],
    )
    await asyncio.wait_for(store.put(change), 20)
    told = "caf? ? ü"
    (found,) = await store.events()
    assert (found.cause, found.actor, found.detail) == (told, told, {"path": told})
    assert await store.events(task=odd, kinds=[odd]) == []
    (run,) = await store.runs("web")
    assert (run.cause, run.end_reason) == (told, told)
    assert (await store.load()).tasks == {"web": {"reason": told, "why": [{told: told}]}}
    await store.close()


async def test_a_row_that_cannot_be_written_takes_no_other_along(
    store: StateStore, caplog: pytest.LogCaptureFixture
) -> None:
    loop: Any = {}
    loop["itself"] = loop
    bad = [
        Change(tasks={"loop": loop}),
        Change(runs=[RunRow(2**70, "huge")]),
        Change(events=[EventRow(2, None, "timeless")]),  # type: ignore[arg-type]
        Change(events=[EventRow(3, 1.0, object())]),  # type: ignore[arg-type]
    ]
    good = Change(tasks={"web": {"n": 1}}, runs=[RunRow(1, "web", 1.0)], events=[event(4)])
    await asyncio.wait_for(asyncio.gather(*(store.put(change) for change in [*bad, good])), 20)
    loaded = await store.load()
    assert (loaded.tasks, list(loaded.runs), loaded.next_event) == ({"web": {"n": 1}}, [1], 5)
    left_out = [record.getMessage() for record in caplog.records]
    assert all(
        word in told for word, told in zip(["loop", "huge", "timeless", "object"], left_out, strict=True)
    )
    await asyncio.wait_for(store.put(Change(events=[event(5)])), 20)


async def test_closing_with_a_full_disk_is_an_error(path: Path) -> None:
    store = await StateStore.open(path)
    await store.load()
    store._writer.connection.execute("PRAGMA max_page_count = 1")
    store.put(Change(events=[event(n, kind="x" * 1000) for n in range(1, 100)]))
    with pytest.raises(StoreError, match="last changes could not be written"):
        await store.close()
    with pytest.raises(StoreError, match="closed"):
        store.put(Change())


async def test_a_newer_database_is_refused(path: Path) -> None:
    with closing(connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer paneview"):
        await StateStore.open(path)


def test_a_reader_without_database_says_so(path: Path) -> None:
    with pytest.raises(StoreError, match="no state is stored"):
        SyncStateReader(path)
    path.write_bytes(b"garbage " * 1000)
    with SyncStateReader(path) as reader, pytest.raises(StoreError, match="cannot read"):
        reader.tasks()


async def test_every_event_comes_in_pages(store: StateStore, path: Path) -> None:
    await store.put(Change(events=[event(n, ["web", "db"][n % 2]) for n in range(1, 2501)]))
    with SyncStateReader(path) as reader:
        assert [row.id for row in reader.every_event(EventFilter())] == list(range(1, 2501))
        assert [row.id for row in reader.every_event(EventFilter(task="db"))] == list(range(1, 2501, 2))
        assert reader.current_runs() == reader.runs() == []


CHILD = """
import asyncio, sys
from pathlib import Path
from paneview.store.rows import Change, EventRow, RunRow
from paneview.store.state import StateStore

async def main():
    store = await StateStore.open(Path(sys.argv[1]))
    number = (await store.load()).next_event
    def put(n):
        change = Change({"web": {"n": n}}, [RunRow(n, "web", 1.0)], [EventRow(n, 1.0, "kind")])
        store.put(change).add_done_callback(lambda _: print(n, flush=True))
    while True:
        for _ in range(number % 5):
            put(number)
            number += 1
        put(number)
        number += 1
        await asyncio.sleep(0)

asyncio.run(main())
"""


def test_kills_lose_nothing_that_was_told_to_be_durable(path: Path) -> None:
    dice = random.Random(11)
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, path], stdout=subprocess.PIPE, text=True)
        assert child.stdout
        told = int(child.stdout.readline())
        time.sleep(dice.random() * 0.05)
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines(keepends=True)
        child.wait()
        child.stdout.close()
        told = max([told, *(int(line) for line in rest if line.endswith("\n"))])
        with closing(connect_read_only(path)) as database:
            (events,) = database.execute("SELECT count(*) FROM event").fetchone()
            (last,) = database.execute("SELECT max(id) FROM event").fetchone()
            (runs,) = database.execute("SELECT max(id) FROM run").fetchone()
            (check,) = database.execute("PRAGMA integrity_check").fetchone()
        with SyncStateReader(path) as reader:
            state = reader.tasks()["web"]["n"]
        # A prefix, complete, and nothing of a change without the rest of it.
        assert events == last == runs == state >= told
        assert check == "ok"
