"""Events and log lines of a time span in one stream, ordered by time, for review: JSON lines or text.

A JSON line is one of ``{"type": "event", "ts", "id", "event", "task", "run", "cause", "actor", "detail"}``
and ``{"type": "log", "ts", "task", "run", "line", "text"}``, both with ``"approx": true`` where a time is
only bracketed and ``"cut": bytes`` where the end of a long line was left out. Times are ISO 8601 in UTC.

Records are produced as they are read and never held in memory, so the size of the export does not matter.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct

from paneview.config.secrets import Masker
from paneview.store.clean import iso_time, plain
from paneview.store.reader import Line, LogReader
from paneview.store.rows import EventRow
from paneview.store.search import Search, scan
from paneview.store.snapshot import EVER, Span
from paneview.store.state_reader import SyncStateReader
from paneview.store.state_schema import EventFilter

Form = Literal["jsonl", "text"]
MAX_BYTES = 64 * 1024  # of a line
_NO_SECRETS = Masker((), ())


class Selection(Struct, frozen=True):
    """What to export. `tasks` None means all, including events of no task; times are epoch seconds."""

    span: Span = EVER
    tasks: Sequence[str] | None = None
    events: bool = True
    logs: bool = True


def export(
    state: SyncStateReader | None,
    logs: LogReader,
    selection: Selection,
    *,
    form: Form = "jsonl",
    masker: Masker = _NO_SECRETS,
) -> Iterator[str]:
    """The selected records, oldest first, each as one line without its newline.

    `masker` applies to log lines and to the causes and details of events.
    Raises `StoreError` if the databases cannot be read.
    """
    streams: list[Iterator[EventRow | Line]] = []
    if selection.events and state is not None:
        streams.append(_events(state, selection))
    if selection.logs:
        tasks = logs.tasks() if selection.tasks is None else selection.tasks
        streams.append(scan(logs, tasks, Search(span=selection.span, max_bytes=MAX_BYTES)))
    show = _as_json if form == "jsonl" else _as_text
    for record in heapq.merge(*streams, key=_ts):
        yield show(record, masker)


def _ts(record: EventRow | Line) -> float:
    return record.ts


def _events(state: SyncStateReader, selection: Selection) -> Iterator[EventRow]:
    since, until = selection.span
    wanted = EventFilter(
        since=None if since == float("-inf") else since, until=None if until == float("inf") else until
    )
    for event in state.every_event(wanted):
        if selection.tasks is None or event.task in selection.tasks:
            yield event


def _as_json(record: EventRow | Line, masker: Masker) -> str:
    if isinstance(record, Line):
        found: dict[str, Any] = {
            "type": "log",
            "ts": iso_time(record.ts),
            "task": record.task,
            "run": record.run,
            "line": record.number,
            "text": masker.text(plain(record.raw)),
        }
        if record.approx:
            found["approx"] = True
        if record.cut:
            found["cut"] = record.cut
    else:
        record = record.masked(masker)
        found = {
            "type": "event",
            "ts": iso_time(record.ts),
            "id": record.id,
            "event": record.kind,
            "task": record.task,
            "run": record.run,
            "cause": record.cause,
            "actor": record.actor,
            "detail": record.detail,
        }
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _as_text(record: EventRow | Line, masker: Masker) -> str:
    when = iso_time(record.ts)
    if isinstance(record, Line):
        mark = "~" if record.approx else " "
        more = f" … {record.cut} more bytes" if record.cut else ""
        return f"{when}{mark}{record.task} | {masker.text(plain(record.raw))}{more}"
    record = record.masked(masker)
    parts = [f"* {record.kind}", record.task, record.cause]
    parts += [f"{key}={json.dumps(item, ensure_ascii=False)}" for key, item in record.detail.items()]
    return f"{when} {' '.join(part for part in parts if part)}"
