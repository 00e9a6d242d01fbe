"""A task's log as the screen needs it: any line by its number, without ever reading the whole log.

Only lines that are about to be shown are requested. One request is under way at a time; meanwhile the newest wish
replaces the one before, so a log that grows by 100,000 lines a second costs one small request per frame drawn. The
last line may still grow (a prompt, a progress bar), so it counts as known only until the log moves again; the old
text is shown until the new one comes. The same holds for the newest lines of a merged log, whose order becomes final
when they are stored.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from paneview.control.errors import ControlError
from paneview.control.model import LineView
from paneview.control.protocol import MERGES

KEPT_LINES = 6000
KEPT_UNSEEN = 200
MOST_PER_REQUEST = 1000
MOST_AT_ONCE = 100
SETTLES = 2.5  # s after which the order of a merged log's newest lines is final

Call = Callable[..., Awaitable[dict[str, Any]]]


class RunMark(NamedTuple):
    """The lines of one run in a task's log (``end`` is the line after its last), and its facts."""

    run: int
    first: int
    end: int
    started_at: float | None
    ended_at: float | None
    exit_code: int | None

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> RunMark:
        """The mark of an element of ``log_info``'s runs."""
        return cls(
            raw["run"],
            raw["first"],
            raw["end"],
            raw.get("started_at"),
            raw.get("ended_at"),
            raw.get("exit_code"),
        )


class LogFeed:
    """Lines of one task. ``on_change`` is called when something that was requested has come.

    ``head`` is the end of the log as last reported, ``end`` the end up to which it can be shown: it moves when the
    lines are here, so that a growing log is never drawn with holes.
    """

    def __init__(self, call: Call, task: str, head: int = 0) -> None:
        self.task = task
        self.first = 0
        self.end = 0
        self.head = head
        self.runs: list[RunMark] = []
        self.known = False
        self.error = ""
        self.on_change: Callable[[], None] = lambda: None
        self._call = call
        self._lines: dict[int, LineView] = {}
        self._unsettled: set[int] = set()  # lines here that may grow
        self._stale: set[int] = set()  # lines here that may have grown since they came
        self._moves = 0
        self._wish: tuple[int, int] | None = None
        self._tail_wish = 0
        self._single: list[int] = []
        self._moved = True
        self._fetching: asyncio.Task[None] | None = None
        self._stale_runs = True

    def line(self, number: int) -> LineView | None:
        """The line, if it is here."""
        return self._lines.get(number)

    @property
    def merged(self) -> bool:
        """Whether it is the log of several tasks."""
        return MERGES in self.task

    @property
    def busy(self) -> bool:
        """Whether a request is still under way."""
        return self._fetching is not None and not self._fetching.done()

    def moved(self, head: int) -> None:
        """The log has grown to ``head``, or its last line has grown; the lines are fetched when needed."""
        self.head = head
        self._moved = True
        self._moves += 1
        self._stale |= self._unsettled
        self._unsettled.clear()
        self.error = ""

    def run_changed(self) -> None:
        """A run began or ended, or the connection is new: fetch the list of runs with the next lines."""
        self._stale_runs = True
        self.error = ""

    def has(self, first: int, count: int) -> bool:
        """Whether these lines are here, as far as they exist."""
        low, high = max(first, self.first), min(first + count, max(self.end, self.head))
        return all(number in self._lines for number in range(low, high))

    def has_end(self, count: int) -> bool:
        """Whether the newest ``count`` lines that are known of are here."""
        return self.has(self.end - count, count)

    def ensure(self, first: int, count: int) -> bool:
        """Whether these lines are all here; if not, they are requested, and `on_change` follows."""
        low, high = max(first, self.first), min(first + count, max(self.end, self.head))
        missing = self._missing(range(low, high))
        if missing:
            self._wish = (missing[0], missing[-1] + 1 - missing[0])
        if missing or self._stale_runs or not self.known:
            self._start()
        return not missing and self.known

    def ensure_end(self, count: int) -> bool:
        """Whether the newest ``count`` lines are here; if not, they are requested, however far the log has got."""
        if self.known and not self._moved:
            return self.ensure(self.end - count, count)
        self._tail_wish = count
        self._start()
        return False

    def find(self, **args: Any) -> Awaitable[dict[str, Any]]:
        """One ``log_find`` request on this log."""
        return self._call("log_find", task=self.task, **args)

    async def fetch(self, first: int, count: int) -> list[LineView]:
        """These lines, from the supervisor, bypassing the cache. Raises ControlError."""
        lines: list[LineView] = []
        while count > 0:
            some = min(count, MOST_PER_REQUEST)
            reply = await self._call("log_lines", task=self.task, first=first, count=some)
            lines += [LineView.from_json(raw) for raw in reply["lines"]]
            first, count = first + some, count - some
        return lines

    def ensure_each(self, numbers: Sequence[int]) -> bool:
        """Like `ensure`, for lines that may lie far apart."""
        self._single = self._missing(numbers)
        if self._single or self._stale_runs:
            self._start()
        return not self._single

    def run_at(self, number: int) -> RunMark | None:
        """The run that wrote this line, if known."""
        at = bisect_right(self.runs, number, key=lambda mark: mark.first) - 1
        return self.runs[at] if at >= 0 else None

    def shrink(self, near: int) -> None:
        """The log is no longer shown: keep only the lines around this one."""
        self._lines = {
            number: line for number, line in self._lines.items() if abs(number - near) < KEPT_UNSEEN
        }
        self._forget_marks()

    def _missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of these lines that are not here, or that may have changed since they came."""
        return [number for number in numbers if number not in self._lines or number in self._stale]

    def _start(self) -> None:
        # After an error nothing is requested until something moves: the next frame would get the same error.
        if not self.error and not self.busy:
            self._fetching = asyncio.create_task(self._serve(), name=f"log of {self.task}")

    async def _serve(self) -> None:
        try:
            while self._wish or self._tail_wish or self._single or self._stale_runs:
                if self._stale_runs:
                    await self._fetch_info()
                if self._tail_wish:
                    await self._fetch_tail()
                elif self._wish:
                    (first, count), self._wish = self._wish, None
                    await self._fetch_lines(first, count)
                elif self._single:
                    numbers, self._single = self._missing(self._single)[:MOST_AT_ONCE], []
                    await asyncio.gather(*[self._fetch_lines(number, 1) for number in numbers])
                self.on_change()
        except ControlError as error:
            self._wish, self._tail_wish, self._single = None, 0, []
            self.error = error.message
            self.on_change()

    async def _fetch_info(self) -> None:
        reply = await self._call("log_info", task=self.task)
        self._stale_runs = False
        self.first = reply["first"]
        self.head = max(self.head, reply["end"])
        self.runs = [RunMark.from_json(raw) for raw in reply.get("runs", ())]

    async def _fetch_tail(self) -> None:
        count, self._tail_wish = self._tail_wish, 0
        self._moved = False
        head = self.head
        first = max(self.first, head - count)
        # Known lines are not requested again, except for the last one, which may have grown.
        while not self.merged and first < self.end - 1 and not self._missing([first]):
            first += 1
        end = await self._fetch_lines(first, max(1, head - first))
        self.end = end if end else self.end

    async def _fetch_lines(self, first: int, count: int) -> int:
        """Fetch lines and keep them; returns the number after the last one received, 0 if there was none."""
        count, moves = min(count, MOST_PER_REQUEST), self._moves
        reply = await self._call("log_lines", task=self.task, first=first, count=count)
        lines = [LineView.from_json(raw) for raw in reply["lines"]]
        # With no line at all, the log is shorter than reported: keeping the old head would ask again for ever.
        self.head = max(self.head, reply["end"]) if lines else reply["end"]
        self.first = max(self.first, reply["first"])  # the oldest lines are deleted while others come
        if not lines or lines[0].number > first:
            self.first = max(self.first, lines[0].number if lines else min(first + count, reply["end"]))
        if lines and not self.merged:
            mark = self.run_at(lines[-1].number)
            if mark is None or mark.run != lines[-1].run:
                self._stale_runs = True  # it had not written anything when the runs were fetched
        self._keep(lines, moved=self._moves > moves)
        self.known = True
        self._trim(first)
        return lines[-1].number + 1 if lines else 0

    def _keep(self, lines: list[LineView], *, moved: bool) -> None:
        """Keep these lines; ``moved``: the log has moved since they were requested."""
        if any(line.number in self._lines and self._lines[line.number].task != line.task for line in lines):
            self._stale.update(self._lines)  # a line has changed its place, so others may have, too
        for line in lines:
            self._lines[line.number] = line
            self._stale.discard(line.number)
            self._unsettled.discard(line.number)
            if line.unsettled:
                (self._stale if moved else self._unsettled).add(line.number)

    def _trim(self, near: int) -> None:
        """Forget the lines that are farthest from ``near``, if there are too many."""
        if len(self._lines) > KEPT_LINES:
            ordered = sorted(self._lines, key=lambda number: abs(number - near))
            for number in ordered[KEPT_LINES // 2 :]:
                del self._lines[number]
            self._forget_marks()

    def _forget_marks(self) -> None:
        self._unsettled &= self._lines.keys()
        self._stale &= self._lines.keys()
