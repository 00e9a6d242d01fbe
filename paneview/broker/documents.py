"""Small durable documents with versions, beside the jobs: what outlives every process that works on it.

Whoever changes a document says which version the change is of; if somebody else was quicker, `ConflictError` is raised
and nothing is changed: read it again, think again. So two who work on one document never undo each other's steps, and
of two who take the same step one finds that it is taken. ``leader`` fences besides: who is the leader no more changes
nothing. The state of workflows is kept so (`paneview.workflow`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from paneview.broker.errors import BrokerError
from paneview.broker.model import Json, Leadership

MAX_NAME = 100  # characters of a scope and of a name


class ConflictError(BrokerError):
    """The document is of another version than the one that was to be changed."""

    def __init__(self, scope: str, name: str, version: int) -> None:
        super().__init__(f"{scope} {name} is not of version {version} any more")


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read."""

    name: str
    version: int
    """Grows by one with each change, from 1."""
    value: Json


class Documents(ABC):
    """Documents by scope and name, both printable and short. Every method raises `BrokerError`."""

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
        """Replace version ``version``, 0: it must not be there; the new version. Durable once this returns.

        ``event``: tell so in the feed, with scope, name and version. Raises `ConflictError`, `StaleLeaderError`.
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
        """The newest version."""

    @abstractmethod
    def versions(self, scope: str) -> dict[str, int]:
        """The newest version of every document of the scope, by name."""

    @abstractmethod
    def remove(self, scope: str, name: str) -> bool:
        """Forget one that nobody changes any more; whether it was there."""
