"""Documents: one file per version, created only if none with that number exists; some older ones are kept.

They are kept for a writer that was delayed between reading and writing: the number it wants must still be taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import unquote

from paneview.broker.directory.desk import Desk
from paneview.broker.directory.disk import explained, names, read_json, remove
from paneview.broker.directory.keeping import check_leader
from paneview.broker.directory.layout import quoted
from paneview.broker.documents import ConflictError, Document, Documents
from paneview.broker.model import Json, Leadership

KEEP = 16  # versions
_FILE = re.compile(r"([^.]+)\.(\d{8})\.json")


class DirectoryDocuments(Documents):
    """See `Documents`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._root = desk.layout.root

    def _folder(self, scope: str) -> str:
        return f"{self._desk.layout.own}/docs/{quoted(scope)}"

    def _path(self, scope: str, name: str, version: int) -> str:
        return f"{self._folder(scope)}/{quoted(name)}.{version:08d}.json"

    def _put(
        self,
        scope: str,
        name: str,
        value: Mapping[str, Json],
        version: int,
        leader: Leadership | None,
        event: str,
    ) -> int:
        with explained(self._root):
            if leader is not None:
                check_leader(self._desk, leader)
            if self.versions(scope).get(name, 0) != version:
                raise ConflictError(scope, name, version)
            if not self._desk.scratch.create(self._path(scope, name, version + 1), dict(value)):
                raise ConflictError(scope, name, version)
            remove(self._path(scope, name, version + 1 - KEEP))
            if event:
                self._desk.feed.tell(event, detail={"scope": scope, "name": name, "version": version + 1})
        return version + 1

    def get(self, scope: str, name: str) -> Document | None:
        """The newest version."""
        with explained(self._root):
            version = self.versions(scope).get(name)
            if version is None:
                return None
            while os.path.exists(self._path(scope, name, version + 1)):  # an NFS client's listing may be old
                version += 1
            value = read_json(self._path(scope, name, version))
        return None if value is None else Document(name, version, value)

    def versions(self, scope: str) -> dict[str, int]:
        """The newest versions, by name."""
        found: dict[str, int] = {}
        with explained(self._root):
            for entry in names(self._folder(scope)):
                if match := _FILE.fullmatch(entry):
                    name = unquote(match[1])
                    found[name] = max(found.get(name, 0), int(match[2]))
        return found

    def remove(self, scope: str, name: str) -> bool:
        """Remove a document."""
        with explained(self._root):
            mine = [entry for entry in names(self._folder(scope)) if entry.startswith(f"{quoted(name)}.")]
            gone = [remove(f"{self._folder(scope)}/{entry}") for entry in sorted(mine)]
        return any(gone)
