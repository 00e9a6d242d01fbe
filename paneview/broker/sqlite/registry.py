"""Workers and flags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from paneview.broker.boot import since_boot
from paneview.broker.interface import QUARANTINE, Flags, Registry, mark_of
from paneview.broker.jsontext import to_json
from paneview.broker.model import Json
from paneview.broker.sqlite.beats import Beats
from paneview.broker.sqlite.database import Database
from paneview.broker.sqlite.feed import SqliteFeed, note
from paneview.broker.staff import Registration, WorkerView


class SqliteFlags(Flags):
    """See `Flags`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, scope: str, name: str, value: Mapping[str, Json], ttl: float | None = None) -> None:
        """Set a flag."""
        text = to_json("a flag", dict(value))
        with self._database.write() as step:
            until = None if ttl is None else step.now + ttl
            step.sql("REPLACE INTO flags VALUES (?, ?, ?, ?)", (scope, name, text, until))

    def clear(self, scope: str, name: str) -> bool:
        """Remove a flag."""
        there = name in self.all(scope)
        with self._database.write() as step:
            step.sql("DELETE FROM flags WHERE scope = ? AND name = ?", (scope, name))
        return there

    def all(self, scope: str) -> dict[str, dict[str, Json]]:
        """Every name of the scope."""
        rows = self._database.rows(
            "SELECT name, value FROM flags WHERE scope = ? AND (until IS NULL OR until > ?)",
            scope,
            since_boot(),
        )
        return {name: json.loads(value) for name, value in rows}


class SqliteRegistry(Registry):
    """See `Registry`."""

    def __init__(self, database: Database, flags: SqliteFlags, feed: SqliteFeed, beats: Beats) -> None:
        super().__init__(flags, feed)
        self._database = database
        self._beats = beats

    def register(self, worker: Registration) -> None:
        """Register a new incarnation of a worker."""
        info = to_json("a worker", asdict(worker))
        self._beats.sign(worker.id)  # before the file is relied on: a full disk takes no new one
        with self._database.write() as step:
            step.sql(
                "REPLACE INTO workers VALUES (?, ?, ?, ?, ?, NULL)",
                (worker.id, info, step.wall, step.now, worker.ttl),
            )
            note(step, "worker_started", worker=worker.id, detail={"name": worker.name, "host": worker.host})

    def beat(self, worker: str) -> bool:
        """Record a heartbeat, without waiting for a lock."""
        if not self._database.rows("SELECT 1 FROM workers WHERE id = ? AND gone IS NULL", worker):
            return False
        self._beats.sign(worker)
        return True

    def leave(self, worker: str, reason: str = "") -> None:
        """Record that a worker ended."""
        with self._database.write() as step:
            for beat, ttl in step.rows(
                "UPDATE workers SET gone = ?, beat = max(beat, ?) WHERE id = ? AND gone IS NULL RETURNING beat, ttl",
                step.now,
                self._beats.last(worker),
                worker,
            ):
                if beat + ttl <= step.now:  # not reported so far
                    note(step, "heartbeat_missed", worker=worker, detail={"ttl": ttl})
                note(step, "worker_stopped", worker=worker, detail={"reason": reason})
        self._beats.forget(worker)

    def all(self, *, role: str = "", host: str = "", alive_only: bool = False) -> list[WorkerView]:
        """The workers."""
        now = since_boot()
        quarantined = self._flags.all(QUARANTINE)
        holds: dict[str, list[str]] = {}
        for owner, job in self._database.rows("SELECT owner, id FROM jobs WHERE state = 'leased'"):
            holds.setdefault(owner, []).append(job)
        views = []
        for info, started, known, ttl, gone in self._database.rows(
            "SELECT info, started_at, beat, ttl, gone FROM workers ORDER BY started_at DESC"
        ):
            worker = Registration.from_json(json.loads(info))
            beat = known if gone is not None else max(known, self._beats.last(worker.id))
            views.append(
                WorkerView(
                    worker,
                    started,
                    now - beat,
                    gone is None and now < beat + ttl,
                    tuple(holds.get(worker.id, ())),
                    mark_of(quarantined, worker.name, worker.host) is not None,
                )
            )
        return [view for view in views if view.is_one_of(role, host, alive_only=alive_only)]
