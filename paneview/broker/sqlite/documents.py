"""Documents: one row each."""

from __future__ import annotations

import json
from collections.abc import Mapping

from paneview.broker.documents import ConflictError, Document, Documents
from paneview.broker.jsontext import to_json
from paneview.broker.model import Json, Leadership
from paneview.broker.sqlite.database import Database
from paneview.broker.sqlite.feed import note
from paneview.broker.sqlite.keeping import check_leader


class SqliteDocuments(Documents):
    """See `Documents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _put(
        self,
        scope: str,
        name: str,
        value: Mapping[str, Json],
        version: int,
        leader: Leadership | None,
        event: str,
    ) -> int:
        text = to_json("a document", dict(value))
        with self._database.write() as step:
            if leader is not None:
                check_leader(step, leader)
            row = step.one("SELECT version FROM documents WHERE scope = ? AND name = ?", scope, name)
            if (row[0] if row else 0) != version:
                raise ConflictError(scope, name, version)
            step.sql("REPLACE INTO documents VALUES (?, ?, ?, ?)", (scope, name, version + 1, text))
            if event:
                note(step, event, detail={"scope": scope, "name": name, "version": version + 1})
        return version + 1

    def get(self, scope: str, name: str) -> Document | None:
        """The newest version."""
        row = self._database.one(
            "SELECT version, value FROM documents WHERE scope = ? AND name = ?", scope, name
        )
        return Document(name, row[0], json.loads(row[1])) if row else None

    def versions(self, scope: str) -> dict[str, int]:
        """The newest versions, by name."""
        return dict(self._database.rows("SELECT name, version FROM documents WHERE scope = ?", scope))

    def remove(self, scope: str, name: str) -> bool:
        """Remove a document."""
        with self._database.write() as step:
            return bool(
                step.rows("DELETE FROM documents WHERE scope = ? AND name = ? RETURNING name", scope, name)
            )
