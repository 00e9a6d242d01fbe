"""The schema of ``state.db`` and the statements that several modules share.

task    one row per task: its durable state (counters, manual-stop mark) as a JSON object the supervisor understands
run     one row per life of a task; a partial index finds those that have not ended
event   append-only; the supervisor assigns growing ids. Queries walk the primary key, or ``(task, id)`` or
        ``(kind, id)``, so a task's newest events are found at once however many events there are; a time
        span is turned into a bound on the id through the covering index on ``ts``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from paneview.store.rows import EventRow, RunRow

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE task (name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE run (
        id INTEGER PRIMARY KEY, task TEXT NOT NULL, started_at REAL, ended_at REAL, exit_code INTEGER,
        signal INTEGER, cause TEXT, end_reason TEXT, pid INTEGER, start_ticks INTEGER, pane_id TEXT,
        window_id TEXT, boot_id TEXT, tmux_pid INTEGER, tmux_start INTEGER
    );
    CREATE INDEX run_of_task ON run (task, id);
    CREATE INDEX run_not_ended ON run (id) WHERE ended_at IS NULL;
    CREATE TABLE event (
        id INTEGER PRIMARY KEY, ts REAL NOT NULL, kind TEXT NOT NULL, task TEXT, run INTEGER, cause TEXT,
        actor TEXT, detail TEXT NOT NULL
    );
    CREATE INDEX event_of_task ON event (task, id);
    CREATE INDEX event_of_kind ON event (kind, id);
    CREATE INDEX event_at ON event (ts);
    """,
)
PRAGMAS = "PRAGMA auto_vacuum = INCREMENTAL;"

RUN_FIELDS, EVENT_FIELDS = RunRow.__struct_fields__, EventRow.__struct_fields__
RUN_COLUMNS, EVENT_COLUMNS = ", ".join(RUN_FIELDS), ", ".join(EVENT_FIELDS)
PUT_TASK = "INSERT INTO task (name, data) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data"
FORGET_TASK = "DELETE FROM task WHERE name = ?"
PUT_RUN = f"INSERT OR REPLACE INTO run ({RUN_COLUMNS}) VALUES ({', '.join('?' * len(RUN_FIELDS))})"  # noqa: S608 - constants
PUT_EVENT = f"INSERT OR REPLACE INTO event ({EVENT_COLUMNS}) VALUES ({', '.join('?' * len(EVENT_FIELDS))})"  # noqa: S608 - constants

RUN_ENDED_AT = RUN_FIELDS.index("ended_at")
TRIM_RUNS = (
    "DELETE FROM run WHERE task = ?1 AND ended_at IS NOT NULL AND id <= "
    "(SELECT id FROM run WHERE task = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"
)

Statement = tuple[str, Sequence[Any]]


class EventFilter(Struct, frozen=True):
    """Which events to select. `since` is inclusive, `until` and `after_id` are exclusive.

    With `after_id`, the oldest `limit` events after it, else the newest `limit`; both in the order they
    happened.
    """

    task: str | None = None
    kinds: Collection[str] | None = None
    since: float | None = None
    until: float | None = None
    after_id: int | None = None
    limit: int = 1000


def select_events(wanted: EventFilter) -> Statement:
    """A statement for these events that walks an index and stops at the limit.

    A task name without a dot includes the task's replicas.
    """
    if wanted.task is None:
        return _walk(wanted)
    one, values = _walk(wanted, "", ("task = ?", wanted.task))
    if "." in wanted.task:
        return one, values
    # Two selects: with an OR the index would give no order, and all past events would be sorted.
    base = "task > ? AND task < ?", f"{wanted.task}.", f"{wanted.task}/"  # what follows a dot
    replicas, more = _walk(wanted, "INDEXED BY event_of_task", base)
    order = "DESC" if wanted.after_id is None else "ASC"
    text = f"SELECT * FROM ({one}) UNION ALL SELECT * FROM ({replicas}) ORDER BY id {order} LIMIT ?"  # noqa: S608 - values are bound
    return text, [*values, *more, wanted.limit]


def _walk(wanted: EventFilter, index: str = "", *first: tuple[str, *tuple[str, ...]]) -> Statement:
    where: list[str] = []
    values: list[Any] = []

    def need(condition: str, *given: Any) -> None:
        where.append(condition)
        values.extend(map(_storable, given))

    for condition, *given in first:
        need(condition, *given)
    if wanted.kinds is not None:
        need(f"kind IN ({', '.join('?' * len(wanted.kinds))})", *wanted.kinds)
    if wanted.since is not None:
        need("ts >= ?", wanted.since)
        if not wanted.after_id:  # an `after_id` already bounds the ids
            need("id >= (SELECT min(id) FROM event WHERE ts >= ?)", wanted.since)
    if wanted.until is not None:
        need("ts < ? AND id <= (SELECT max(id) FROM event WHERE ts < ?)", wanted.until, wanted.until)
    if wanted.after_id is not None:
        need("id > ?", wanted.after_id)
    order = "DESC" if wanted.after_id is None else "ASC"
    clause = f"WHERE {' AND '.join(where)}" if where else ""
    text = f"SELECT {EVENT_COLUMNS} FROM event {index} {clause} ORDER BY id {order} LIMIT ?"  # noqa: S608 - values are bound
    return text, [*values, wanted.limit]


def read_events(rows: Iterable[Sequence[Any]]) -> list[EventRow]:
    """Events in the order they happened, whatever the order of the rows."""
    events = [
        EventRow(number, ts, kind, task, run, cause, actor, json.loads(detail))
        for number, ts, kind, task, run, cause, actor, detail in rows
    ]
    events.sort(key=lambda event: event.id)
    return events


def select_runs(task: str | None, limit: int) -> Statement:
    """The statement for the newest runs, newest first."""
    clause, values = ("", []) if task is None else ("WHERE task = ?", [task])
    text = f"SELECT {RUN_COLUMNS} FROM run {clause} ORDER BY id DESC LIMIT ?"  # noqa: S608 - values are bound
    return text, [*values, limit]


def select_current_runs() -> Statement:
    """The statement for the latest run of each task and every run that has not ended."""
    latest = "SELECT max(id) FROM run GROUP BY task"
    return f"SELECT {RUN_COLUMNS} FROM run WHERE id IN ({latest}) OR ended_at IS NULL", ()  # noqa: S608 - constants


def read_runs(rows: Iterable[Sequence[Any]]) -> list[RunRow]:
    """Runs in the order of the rows."""
    return [RunRow(*row) for row in rows]


def run_values(run: RunRow) -> tuple[Any, ...]:
    """A run as the values of `PUT_RUN`."""
    return tuple(map(_storable, astuple(run)))


def event_values(event: EventRow) -> tuple[Any, ...]:
    """An event as the values of `PUT_EVENT`."""
    detail = encoded(event.detail)
    values = (event.id, event.ts, event.kind, event.task, event.run, event.cause, event.actor, detail)
    return tuple(map(_storable, values))


def encoded(data: Mapping[str, Any]) -> str:
    """A mapping as the JSON text of a column."""
    text = json.dumps(dict(data), ensure_ascii=False, separators=(",", ":"), default=str)
    return str(_storable(text))


def _storable(value: Any) -> Any:
    """Replace lone surrogates, which file names and clients may send and UTF-8 cannot encode."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "replace").decode()


def read_tasks(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The stored state of every task."""
    return {name: json.loads(data) for name, data in connection.execute("SELECT name, data FROM task")}
