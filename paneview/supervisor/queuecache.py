"""Answers about the queue that hold until something happens in it, kept for as long as somebody counts what happens."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

DEAD = "dead"  # the question of how many dead letters there are


class QueueCache:
    """Knows nothing while nobody watches."""

    def __init__(self) -> None:
        self.changes = 0
        """Grows with every change that is known."""
        self._watched = False
        self._answers: dict[Hashable, Any] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Whoever is inside calls `changed` whenever something has happened in the queue."""
        self.changed()
        self._watched = True
        try:
            yield
        finally:
            self._watched = False
            self._answers.clear()

    def changed(self, *, dead: bool = True) -> None:
        """Something has happened in the queue: answers given so far are old. ``dead``: also to dead letters."""
        self.changes += 1
        self._answers = {key: known for key, known in self._answers.items() if key == DEAD and not dead}

    def get(self, question: Hashable) -> Any:
        """The answer that holds; None: there is none."""
        return self._answers.get(question)

    def keep(self, question: Hashable, answer: Any, since: int) -> None:
        """Keep what was asked of the queue after so many changes, if there was none since."""
        if self._watched and since == self.changes:
            self._answers[question] = answer
