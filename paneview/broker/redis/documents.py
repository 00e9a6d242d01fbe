"""Documents: one field each in the scope's hash, with the version, the id of the call that wrote it, and the value."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from paneview.broker.documents import ConflictError, Document, Documents
from paneview.broker.errors import StaleLeaderError
from paneview.broker.jsontext import to_json
from paneview.broker.model import Json, Leadership
from paneview.broker.redis.link import Link


class RedisDocuments(Documents):
    """See `Documents`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._client: Any = link.client

    def _values(self, scope: str) -> str:
        return f"{self._link.base}docs:{scope}"

    def _versions(self, scope: str) -> str:
        return f"{self._link.base}docs:{scope}:versions"

    def _put(
        self,
        scope: str,
        name: str,
        value: Mapping[str, Json],
        version: int,
        leader: Leadership | None,
        event: str,
    ) -> int:
        lead = (leader.name, leader.epoch) if leader else ("", 0)
        detail = to_json("an event", {"scope": scope, "name": name, "version": version + 1})
        text = to_json("a document", dict(value))
        told = self._link.call("document", scope, name, version, text, *lead, event, detail, uuid.uuid4().hex)
        if leader is not None and told == "stale":
            raise StaleLeaderError(leader)
        if told == "conflict":
            raise ConflictError(scope, name, version)
        return int(told)

    def get(self, scope: str, name: str) -> Document | None:
        """The newest version."""
        text = self._link.patiently(lambda _again: self._client.hget(self._values(scope), name))
        if text is None:
            return None
        version, _, value = text.split(" ", 2)
        return Document(name, int(version), json.loads(value))

    def versions(self, scope: str) -> dict[str, int]:
        """The newest versions, by name."""
        found = self._link.patiently(lambda _again: self._client.hgetall(self._versions(scope)))
        return {name: int(version) for name, version in found.items()}

    def remove(self, scope: str, name: str) -> bool:
        """Remove a document."""
        gone = self._link.patiently(lambda _again: self._client.hdel(self._values(scope), name))
        self._link.patiently(lambda _again: self._client.hdel(self._versions(scope), name))
        return bool(gone)
