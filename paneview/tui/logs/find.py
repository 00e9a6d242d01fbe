"""Searching a task's whole stored log, not only what is on the screen.

The supervisor searches; this module puts the requests together: from one hit to the next with a wrap-around, and all
hits in batches, newest first, for the count and for the filter. Both can be cancelled at any moment, and neither ever
holds more than line numbers.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any, NamedTuple

from paneview.control.errors import ControlError
from paneview.patterns import Pattern, PatternError
from paneview.tui.logs.feed import LogFeed
from paneview.tui.logs.viewport import Hits
from paneview.tui.widgets.rowfilter import QUICK

BATCH = 2000
MOST_HITS = 200_000
LOOKED_BACK = 500  # most lines of a merged log that are searched again because their order was not final
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")


class Query(NamedTuple):
    """What to search for. Lower case finds both cases; without special characters the search is literal, and fast.

    ``pattern`` marks the matches on the screen; once it has taken too long there, nothing more is marked.
    """

    text: str
    regex: bool
    ignore_case: bool
    pattern: Pattern

    @classmethod
    def parse(cls, text: str) -> Query:
        """The query for what was typed. Raises ValueError, with a one-line message, for a wrong regular expression."""
        ignore_case = text == text.lower()
        regex = bool(_SPECIAL.search(text))
        try:
            pattern = Pattern(
                text if regex else re.escape(text), ignore_case=ignore_case, limit=QUICK, tries=1
            )
        except PatternError as error:
            raise ValueError(str(error)) from None
        return cls(text, regex, ignore_case, pattern)

    def args(self) -> dict[str, Any]:
        """The arguments of ``log_find``."""
        return {"pattern": self.text, "regex": self.regex, "ignore_case": self.ignore_case}


class Finder:
    """All hits of one query in one log, found from the newest back; `step` need not wait for all of them."""

    def __init__(self, feed: LogFeed, query: Query, on_change: Callable[[], None]) -> None:
        self.feed = feed
        self.query = query
        self.complete = False
        self.error = ""
        self.at: int | None = None
        self.wrapped = ""
        self._on_change = on_change
        self._hits = Hits()
        self._scanned = self._settled = feed.head
        self._grown = False  # since the last look
        self._collecting: asyncio.Task[None] | None = None
        self._stepping: asyncio.Task[None] | None = None

    @property
    def hits(self) -> Hits:
        """The hits found so far whose lines are still stored."""
        numbers = self._hits.numbers
        if numbers and numbers[0] < self.feed.first:
            del numbers[: bisect_left(numbers, self.feed.first)]
        return self._hits

    def collect(self) -> None:
        """Start finding all hits in the background."""
        self._collecting = asyncio.create_task(self._collect(self._scanned), name="log hits")

    def begin(self, start: int, then: Callable[[int], None]) -> None:
        """Call ``then`` with the newest hit at or before ``start``, and find all others in the background.

        From the end of the log, one pass does both.
        """
        if start >= self._scanned - 1:
            self._collecting = asyncio.create_task(self._newest_first(then), name="log hits")
        else:
            self.step("back", start, then)
            self.collect()

    def extend(self) -> None:
        """The log has grown, or its last line has: search what is new, once all the rest is found."""
        self._grown = True
        if self._collecting is not None and self._collecting.done():
            self._collecting = asyncio.create_task(self._extend(), name="log hits")

    def cancel(self) -> None:
        """Cancel whatever is under way."""
        for task in (self._collecting, self._stepping):
            if task is not None:
                task.cancel()

    def step(self, direction: str, start: int, then: Callable[[int], None]) -> None:
        """Find the next hit at or beyond ``start`` and call ``then`` with its line; ``back``: towards older lines."""
        if self._stepping is not None:
            self._stepping.cancel()
        self._stepping = asyncio.create_task(self._step(direction, start, then), name="log search")

    def position(self) -> str:
        """For the status line: ``3 of 128``, ``128+`` while counting, or why nothing was found."""
        if self.error:
            return self.error
        count = self.hits.size()
        if self.complete and not count:
            return "no match"
        total = f"{count:,}" + ("" if self.complete else "+")
        unmarked = ", too slow to be marked" if self.query.pattern.given_up else ""
        if self.at is None:
            return f"{total} matches{unmarked}"
        # Counted from the newest, which is where the search began: 1 is the last line that matches.
        number = count - bisect_left(self.hits.numbers, self.at)
        return f"{number:,} of {total}{self.wrapped}{unmarked}"

    async def _step(self, direction: str, start: int, then: Callable[[int], None]) -> None:
        try:
            found = await self._one(direction, start)
            self.wrapped = ""
            if found is None:
                found = await self._one(direction, self.feed.head if direction == "back" else self.feed.first)
                self.wrapped = ", from the newest again" if direction == "back" else ", from the oldest again"
        except ControlError as error:
            self.error = error.message
        else:
            self.error = "" if found is not None else "no match"
            if found is not None:
                self.at = found
                then(found)
        self._on_change()

    async def _one(self, direction: str, start: int) -> int | None:
        """The next hit at or beyond this line, if any: from the known hits if complete, else from the supervisor."""
        if self.complete:
            numbers = self.hits.numbers
            at = bisect_right(numbers, start) - 1 if direction == "back" else bisect_left(numbers, start)
            return numbers[at] if 0 <= at < len(numbers) else None
        following: int | None = start
        while following is not None:
            reply = await self.feed.find(start=following, direction=direction, limit=1, **self.query.args())
            if reply["hits"]:
                return int(reply["hits"][0])
            following = reply["next"]
        return None

    async def _newest_first(self, then: Callable[[int], None]) -> None:
        try:
            found = await self._one("back", self._scanned)
        except ControlError as error:
            self.error = error.message
            self._on_change()
            return
        if found is None:
            self.complete, self.error = True, "no match"
            self._on_change()
            await self._extend()
            return
        self.at, self._hits = found, Hits([found])
        then(found)
        self._on_change()
        await self._collect(found - 1)

    async def _collect(self, following: int | None) -> None:
        """Find all hits at or before this line, then those in lines that have come meanwhile."""
        if following is not None and following < self.feed.first:
            following, self.complete = None, True
            self._on_change()
        try:
            while following is not None and self.hits.size() < MOST_HITS:
                reply = await self.feed.find(
                    start=following, direction="back", limit=BATCH, **self.query.args()
                )
                self._settled = min(self._settled, reply.get("settled", self._settled))
                self._hits = Hits([*sorted(reply["hits"]), *self.hits.numbers])
                following = reply["next"]
                self.complete = following is None
                self._on_change()
        except ControlError as error:
            self.error = error.message
            self._on_change()
        else:
            await self._extend()

    async def _extend(self) -> None:
        """Find all hits in new lines, starting with those that may have grown or moved since the last look."""
        try:
            while self._grown:
                self._grown = False
                head = self.feed.head
                last = min(self._scanned, head) - 1
                following: int | None = max(
                    self.feed.first, min(last, max(self._settled, head - LOOKED_BACK))
                )
                self._settled = head
                while following is not None:
                    following = await self._renew(following)
                    self._scanned = head if following is None else following
        except ControlError as error:
            self.error = error.message
            self._on_change()

    async def _renew(self, start: int) -> int | None:
        """Find the hits from ``start`` on anew, one batch; returns where to go on, None at the end."""
        reply = await self.feed.find(start=start, direction="forward", limit=BATCH, **self.query.args())
        found, following = reply["hits"], reply["next"]
        self._settled = min(self._settled, reply.get("settled", self._settled))
        numbers = self.hits.numbers
        begin = bisect_left(numbers, start)
        end = len(numbers) if following is None else bisect_left(numbers, following)
        changed = bool(self.error) or numbers[begin:end] != found
        self.error = ""
        numbers[begin:end] = found
        if len(numbers) > MOST_HITS:
            del numbers[:-MOST_HITS]
            self.complete = False
        if changed:
            self._on_change()
        return None if following is None else int(following)
