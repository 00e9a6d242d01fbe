"""Cached answers about the queue: valid until something happens in it, and kept only while its events are watched."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

DEAD = "dead"  # the question of how many dead letters there are


class QueueCache:
    """Caches answers by question; empty while the queue is not watched."""

    def __init__(self) -> None:
        self.changes = 0
        """The number of known changes so far."""
        self._watched = False
        self._answers: dict[Hashable, Any] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Allow caching inside the block, which must call `changed` whenever something has happened in the queue."""
        self.changed()
        self._watched = True
        try:
            yield
        finally:
            self._watched = False
            self._answers.clear()

    def changed(self, *, dead: bool = True) -> None:
        """Drop answers, since something has happened in the queue. ``dead``: also to the dead letters."""
        self.changes += 1
        self._answers = {key: known for key, known in self._answers.items() if key == DEAD and not dead}

    def get(self, question: Hashable) -> Any:
        """The valid answer, or None."""
        return self._answers.get(question)

    def keep(self, question: Hashable, answer: Any, since: int) -> None:
        """Cache an answer requested when `changes` was ``since``, unless there was a change after that."""
        if self._watched and since == self.changes:
            self._answers[question] = answer
