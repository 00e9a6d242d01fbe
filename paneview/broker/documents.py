"""Small durable documents with versions, stored next to the jobs; they outlive every process that works on them.

A change names the version it is based on; if another process was quicker, `ConflictError` is raised and nothing
changes: read the document again and decide again. So two processes never undo each other's steps, and if both take the
same step, one of them learns that it is already taken. ``leader`` is an additional fence: a leader that has been
replaced can change nothing. The state of workflows is stored this way (`paneview.workflow`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from paneview.broker.errors import BrokerError
from paneview.broker.model import Json, Leadership

MAX_NAME = 100  # characters of a scope and of a name


class ConflictError(BrokerError):
    """The document no longer has the version that the change is based on."""

    def __init__(self, scope: str, name: str, version: int) -> None:
        super().__init__(f"{scope} {name} is not of version {version} any more")


class Document(NamedTuple):
    """A document as read."""

    name: str
    version: int
    """Starts at 1 and grows by one with each change."""
    value: Json


class Documents(ABC):
    """Documents by scope and name, both short and printable. Every method may raise `BrokerError`."""

    def put(
        self,
        scope: str,
        name: str,
        value: Mapping[str, Json],
        *,
        version: int,
        leader: Leadership | None = None,
        event: str = "",
    ) -> int:
        """Replace version ``version`` (0: the document must not exist) and return the new version number.

        Durable once this returns. ``event``: the kind of an event to add to the feed, with scope, name and version.
        Raises `ConflictError`, `StaleLeaderError`.
        """
        for text in (scope, name):
            if not text or not text.isprintable() or len(text) > MAX_NAME:
                raise BrokerError(
                    f"{text!r} can't be a document's name: {MAX_NAME} printable characters at most"
                )
        return self._put(scope, name, value, version, leader, event)

    @abstractmethod
    def _put(
        self,
        scope: str,
        name: str,
        value: Mapping[str, Json],
        version: int,
        leader: Leadership | None,
        event: str,
    ) -> int: ...

    @abstractmethod
    def get(self, scope: str, name: str) -> Document | None:
        """The newest version; None if there is no such document."""

    @abstractmethod
    def versions(self, scope: str) -> dict[str, int]:
        """The newest version of every document of the scope, by name."""

    @abstractmethod
    def remove(self, scope: str, name: str) -> bool:
        """Remove a document that nothing changes any more; returns whether it existed."""
