"""The jobs that the queue's screen shows, fetched as needed: one request under way, none while nothing changes.

The supervisor pushes the queue's summary, with a number that grows with each change. The jobs are fetched again only
when that number or the question has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from paneview.control.errors import ControlError
from paneview.control.queuemodel import JobView
from paneview.tui.queue.words import SHOWN

PAGE = 200
Call = Callable[..., Awaitable[dict[str, Any]]]


class JobQuery(NamedTuple):
    """Which jobs: a key of `SHOWN`, a target or none, and how many."""

    shown: str = "all"
    target: str | None = None
    limit: int = PAGE


class Jobs:
    """The newest jobs that answer a question. ``told`` is called when there is something new to show."""

    def __init__(self, call: Call, told: Callable[[], None]) -> None:
        self._call = call
        self._told = told
        self.question = JobQuery()
        self.found: dict[str, JobView] = {}
        self.more = False
        self.problem = ""
        self.answered: JobQuery | None = None
        """The question that `found` answers."""
        self._changes = -1
        self._wanted_changes = 0
        self._fetching: asyncio.Task[None] | None = None

    @property
    def loading(self) -> bool:
        """Whether the current question is still unanswered."""
        return self.answered != self.question and not self.problem

    def ask(self, question: JobQuery) -> None:
        """Show other jobs."""
        if question != self.question:
            self.question = question
            self._fetch()

    def note(self, changes: int) -> None:
        """Note the queue's number of changes; fetch the jobs if it is new."""
        if changes != self._wanted_changes or self._changes < 0 or self.problem:
            self._wanted_changes = changes
            self._fetch()

    def longer(self) -> None:
        """Fetch older jobs as well."""
        if self.more and not self.loading:
            self.ask(self.question._replace(limit=self.question.limit + PAGE))

    def close(self) -> None:
        """Stop fetching."""
        if self._fetching is not None:
            self._fetching.cancel()

    def _fetch(self) -> None:
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            question, changes = self.question, self._wanted_changes
            try:
                reply = await self._call(
                    "jobs", states=list(SHOWN[question.shown]), target=question.target, limit=question.limit
                )
            except ControlError as error:
                self.problem = error.message
            else:
                self.found = {raw["id"]: JobView.from_json(raw) for raw in reply["jobs"]}
                self.more, self.problem = bool(reply.get("more")), ""
                self.answered, self._changes = question, changes
            self._told()
            if (self.question, self._wanted_changes) == (question, changes):
                return
