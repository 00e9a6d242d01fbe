"""The logs of several tasks as one, in order of time, without ever reading all of them.

A merged log is named by its tasks joined with ``+``, which no task name contains. Its lines are numbered, too: the
number of a line is the sum of the line numbers that all its tasks' logs had reached when it came. So numbers don't
change while the logs grow or their oldest lines are dropped, and reading any part of a merged log costs a few looks at
the index of times.

Only the newest lines have to settle first: a line that is not stored yet has no time of its own, so its place among
the others' lines is a guess for `SETTLES` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from paneview.store.match import Query
from paneview.store.pieces import LINE_KEPT
from paneview.store.reader import Line, LogReader
from paneview.store.search import Search, find_lines
from paneview.store.snapshot import Span

NEAR_END = 2_000  # lines from the end that are simply read
CLOSE = 500  # lines that are read and discarded rather than searching more exactly
STEPS = 60
LATEST = 2.0**33  # epoch seconds, after any line's time: the clock may have been set back since a line came
SETTLES = 2.0  # seconds after which a line and all lines before it are stored


class Numbered(NamedTuple):
    """A line and its number in the merged log; ``unsettled``: it may still grow, or get another number."""

    number: int
    line: Line
    unsettled: bool


class Merged:
    """One merged log, as it is now."""

    def __init__(self, reader: LogReader, tasks: Sequence[str]) -> None:
        self._reader = reader
        self._tasks = list(tasks)
        self._bounds = {task: reader.bounds(task) for task in self._tasks}

    @property
    def bounds(self) -> tuple[int, int]:
        """The numbers of the oldest line and of one past the newest."""
        return sum(first for first, _ in self._bounds.values()), sum(end for _, end in self._bounds.values())

    def lines(self, first: int, count: int, max_bytes: int) -> list[Numbered]:
        """Up to ``count`` lines from number ``first`` on, or from the oldest there is."""
        begin, end = self.bounds
        first = max(first, begin)
        if count <= 0 or first >= end:
            return []
        if end - first <= NEAR_END:
            starts = {task: max(low, high - (end - first)) for task, (low, high) in self._bounds.items()}
            lines = self._read(starts, end - first, max_bytes)[-(end - first) :]
        else:
            starts = self._starts(first)
            skip = first - sum(starts.values())
            lines = self._read(starts, skip + count, max_bytes)[skip:]
        young, lasts = time.time() - SETTLES, {task: end - 1 for task, (_, end) in self._bounds.items()}
        return [
            Numbered(first + at, line, line.ts > young or line.number == lasts[line.task])
            for at, line in enumerate(lines[:count])
        ]

    def find(
        self, query: Query, start: int | None, *, back: bool, limit: int
    ) -> tuple[list[int], int | None]:
        """Numbers of matching lines from ``start`` on, and the number to go on from; None at the end of the log."""
        begin, end = self.bounds
        start = (end - 1 if back else begin) if start is None else max(begin, min(start, end - 1))
        if not back and end - start <= NEAR_END:
            near, matches = self.lines(start, end - start, LINE_KEPT), query.matcher()
            matching = [one.number for one in near if matches(one.line.raw)]
            return matching[:limit], matching[limit] if len(matching) > limit else None
        found = self.lines(start, 1, 0)
        if not found:
            return [], None
        hits: list[int] = []
        frontier: int | None = None
        for task in self._tasks:
            at = self._standing(task, found[0].line) + (back and task == found[0].line.task)
            search = Search(query, newest_first=back, limit=limit, start=at, max_bytes=0)
            numbers, following = find_lines(self._reader, task, search)
            hits += [self._number_of(task, number) for number in numbers]
            if following is not None:
                reached = self._number_of(task, following - 1 if back else following)
                frontier = reached if frontier is None else (max if back else min)(frontier, reached)
        beyond = [hit for hit in hits if hit <= start] if back else [hit for hit in hits if hit >= start]
        if frontier is not None:  # the unsearched rest of one log may have hits before those of others
            limit_at = frontier
            beyond = [hit for hit in beyond if (hit > limit_at if back else hit < limit_at)]
        beyond.sort(reverse=back)
        if len(beyond) > limit:
            return beyond[:limit], beyond[limit]
        return beyond, frontier

    def settled(self) -> int:
        """The first line that may still grow or get another number."""
        young = time.time() - SETTLES
        found = sum(self._number_at(task, young) for task in self._tasks)
        for task, (_, end) in self._bounds.items():
            source = self._reader.lines_of(task)
            whole = source.whole_lines()[1] if source is not None else end
            if whole < end:
                found = min(found, self._number_of(task, whole))
        return found

    def _read(self, starts: Mapping[str, int], count: int, max_bytes: int) -> list[Line]:
        lines = [
            (line.ts, at, line.number, line)
            for at, task in enumerate(self._tasks)
            for line in self._reader.lines(task, starts[task], count, max_bytes=max_bytes)
            if line.number < self._bounds[task][1]
        ]
        return [line for *_, line in sorted(lines, key=lambda found: found[:3])]

    def _starts(self, wanted: int) -> dict[str, int]:
        """The line that each log had reached when the merged log was at line ``wanted``, or a little before."""
        low, high = 0.0, LATEST
        best = {task: first for task, (first, _) in self._bounds.items()}
        for _ in range(STEPS):
            if wanted - sum(best.values()) <= CLOSE:
                break
            middle = (low + high) / 2
            starts = {task: self._number_at(task, middle) for task in self._tasks}
            if sum(starts.values()) <= wanted:
                low, best = middle, starts
            else:
                high = middle
        return best

    def _number_of(self, task: str, number: int) -> int:
        """The merged number of a task's line."""
        first, end = self._bounds[task]
        number = max(first, min(number, end - 1))
        found = self._reader.lines(task, number, 1, max_bytes=0)
        if not found:
            return number + sum(end for other, (_, end) in self._bounds.items() if other != task)
        return number + sum(self._standing(other, found[0]) for other in self._tasks if other != task)

    def _standing(self, task: str, line: Line) -> int:
        """How far the task's log had come when this line came: the number of its next line.

        Among lines of the same time, those of an earlier task in the list come first.
        """
        if task == line.task:
            return line.number
        return self._number_at(task, line.ts, after=self._tasks.index(task) < self._tasks.index(line.task))

    def _number_at(self, task: str, ts: float, *, after: bool = False) -> int:
        """The number of the task's first line at ``ts`` or later; with ``after``, later than ``ts``."""
        first, end = self._bounds[task]
        source = self._reader.lines_of(task)
        if source is None:
            return first
        for piece in source.forward(first, Span(since=ts), most=1):
            low, high = max(piece.first, first), piece.end
            while low < high:
                middle = (low + high) // 2
                came = piece.when(middle)[0]
                if came < ts or (after and came == ts):
                    low = middle + 1
                else:
                    high = middle
            if low < piece.end:
                return min(low, end)
        return end


def merged_find(
    reader: LogReader, tasks: Sequence[str], query: Query, args: Mapping[str, Any], limit: int
) -> dict[str, Any]:
    """The reply to a search through a merged log; from line ``settled`` on, the next search may find other lines."""
    back = args["direction"] == "back"
    merged = Merged(reader, tasks)
    settled = merged.settled()
    hits, following = merged.find(query, args["start"], back=back, limit=limit)
    return {"hits": hits, "next": following, "settled": settled}
