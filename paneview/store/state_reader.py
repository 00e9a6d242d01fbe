"""Tasks, runs and events for processes other than the supervisor: the command line when none runs, and export."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from msgspec.structs import replace

from paneview.store import state_schema as schema
from paneview.store.database import StoreError, connect_read_only
from paneview.store.rows import EventRow, RunRow
from paneview.store.state_schema import EventFilter

PAGE = 500
T = TypeVar("T")


class SyncStateReader:
    """A read-only view of ``state.db``. Raises `StoreError` if there is none or it cannot be read."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise StoreError(f"no state is stored at {path}")
        self._path = path
        self._connection = connect_read_only(path)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """The stored state of every task."""
        return self._guarded(lambda: schema.read_tasks(self._connection))

    def runs(self, task: str | None = None, limit: int = 50) -> list[RunRow]:
        """The newest runs, newest first."""
        return schema.read_runs(self._rows(schema.select_runs(task, limit)))

    def current_runs(self) -> list[RunRow]:
        """The latest run of each task, and every run that has not ended."""
        return schema.read_runs(self._rows(schema.select_current_runs()))

    def events(self, wanted: EventFilter) -> list[EventRow]:
        """The events that match, oldest first."""
        return schema.read_events(self._rows(schema.select_events(wanted)))

    def every_event(self, wanted: EventFilter) -> Iterator[EventRow]:
        """All events that match, oldest first, read in pages; the filter's `limit` is ignored."""
        after = wanted.after_id or 0
        while page := self.events(replace(wanted, after_id=after, limit=PAGE)):
            yield from page
            after = page[-1].id

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> SyncStateReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, statement: schema.Statement) -> list[Any]:
        return self._guarded(lambda: self._connection.execute(*statement).fetchall())

    def _guarded(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read {self._path}: {error}") from error
