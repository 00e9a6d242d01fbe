"""Reading stored logs for clients, by line number and by search.

A client asks only for what it shows, so a log of ten million lines costs no more than its visible part. Pages and
searches have one thread each: a search through everything never delays a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from paneview.config import paths
from paneview.control.errors import ControlError
from paneview.control.protocol import MERGES
from paneview.patterns import PatternError
from paneview.store.clean import clean
from paneview.store.ingest import LogIngest
from paneview.store.known import Known
from paneview.store.match import Query
from paneview.store.reader import Line, LogReader
from paneview.store.rows import RunRow
from paneview.store.search import Search, find_lines
from paneview.store.state import StateStore
from paneview.supervisor.logs.merging import Merged, merged_find

MOST_LINES = 5_000  # in one reply
LONGEST_LINE = 16 * 1024  # bytes of one line in a reply
MOST_HITS = 10_000
MOST_MERGED_HITS = 200  # each costs a look at every other log

Reply = dict[str, Any]
T = TypeVar("T")


class LogReading:
    """Answers requests about logs."""

    def __init__(self, folder: Path, ingest: LogIngest, store: StateStore) -> None:
        self._ingest = ingest
        self._store = store
        self._pages = _Thread(folder, ingest.known_times, "log pages")
        self._searches = _Thread(folder, ingest.known_times, "log searches")

    async def info(self, task: str) -> Reply:
        """Where the log begins and ends, and which lines belong to which run; a merged log has no runs."""
        if len(tasks := task.split(MERGES)) > 1:
            first, end = await self._pages.run(lambda reader: Merged(reader, tasks).bounds)
            return {"first": first, "end": end, "runs": []}
        runs = {run.id: run for run in await self._store.runs(task, 1_000)}
        return await self._pages.run(lambda reader: _info(reader, task, runs))

    async def lines(self, task: str, first: int, count: int) -> Reply:
        """Lines by number; fewer where there are no more. A negative ``first`` counts from the end."""
        if len(tasks := task.split(MERGES)) > 1:
            return await self._pages.run(
                lambda reader: _merged_lines(reader, tasks, first, min(count, MOST_LINES))
            )
        return await self._pages.run(lambda reader: _lines(reader, task, first, min(count, MOST_LINES)))

    async def find(self, task: str, args: Mapping[str, Any]) -> Reply:
        """Numbers of matching lines from ``start`` on in one direction.

        Raises ControlError for a pattern that is wrong or takes too long.
        """
        limit = min(args["limit"], MOST_HITS)
        tasks = task.split(MERGES)
        try:
            query = Query(args["pattern"], regex=args["regex"], ignore_case=args["ignore_case"])
            if len(tasks) > 1:
                return await self._searches.run(
                    lambda reader: merged_find(reader, tasks, query, args, min(limit, MOST_MERGED_HITS))
                )
            return await self._searches.run(lambda reader: _find(reader, task, query, args, limit))
        except PatternError as error:
            raise ControlError(str(error), "bad_request") from error

    async def new_lines(self, task: str, run: int, first: int) -> tuple[list[bytes], int, int]:
        """Some of the run's lines from number ``first`` on, the number to go on from, and that of the last line.

        The last line may still grow, so it is returned again by the next call.
        """
        return await self._pages.run(lambda reader: _new_lines(reader, task, run, first))

    async def tasks(self) -> list[str]:
        """The tasks that have a log, including those that are no longer in the file."""
        return await self._pages.run(lambda reader: reader.tasks())

    async def clean(self, tasks: Sequence[str] | None) -> None:
        """Forget the stored lines of these tasks, or of all."""
        for task in tasks if tasks is not None else [None]:
            await asyncio.wrap_future(self._ingest.logs_clean(task))

    def close(self) -> None:
        """End the threads."""
        self._pages.close()
        self._searches.close()


class _Thread:
    """One thread with a reader of its own."""

    def __init__(self, folder: Path, known: Known, name: str) -> None:
        self._reader = LogReader(paths.logs_db(folder), paths.spool_dir(folder), known)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[LogReader], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, work, self._reader)

    def close(self) -> None:
        self._executor.submit(self._reader.close)
        self._executor.shutdown(wait=True, cancel_futures=False)


def _info(reader: LogReader, task: str, rows: Mapping[int, RunRow]) -> Reply:
    first, end = reader.bounds(task)
    runs = []
    for span in reader.runs(task):
        row = rows.get(span.run)
        runs.append(
            {
                "run": span.run,
                "first": span.first,
                "end": span.end,
                "started_at": row.started_at if row else None,
                "ended_at": row.ended_at if row else None,
                "exit_code": row.exit_code if row else None,
            }
        )
    return {"first": first, "end": end, "runs": runs}


def _lines(reader: LogReader, task: str, first: int, count: int) -> Reply:
    begin, end = reader.bounds(task)
    if first < 0:
        first = max(begin, end + first)
    source = reader.lines_of(task)
    # Taken before the lines are read, because lines stored in between may still get exact times.
    stored = source.whole_lines()[1] if source else end
    lines = reader.lines(task, first, count, max_bytes=LONGEST_LINE)
    # The last line, and what came since the look at where the log ends, may still grow; a time may get exact.
    shown = [
        _line(line, unsettled=line.number >= end - 1 or (line.approx and line.number >= stored))
        for line in lines
    ]
    return {"first": begin, "end": end, "lines": shown}


def _merged_lines(reader: LogReader, tasks: Sequence[str], first: int, count: int) -> Reply:
    merged = Merged(reader, tasks)
    begin, end = merged.bounds
    if first < 0:
        first = max(begin, end + first)
    lines = merged.lines(first, count, LONGEST_LINE)
    shown = [
        {**_line(found.line, unsettled=found.unsettled), "n": found.number, "task": found.line.task}
        for found in lines
    ]
    return {"first": begin, "end": end, "lines": shown}


def _new_lines(reader: LogReader, task: str, run: int, first: int) -> tuple[list[bytes], int, int]:
    span = next((span for span in reader.runs(task) if span.run == run), None)
    if span is None:
        return [], first, first
    first = max(first, span.first)
    lines = reader.lines(task, first, MOST_LINES)
    following = max(first, lines[-1].number) if lines else first
    last = span.end - 1 if lines else first
    return [line.raw for line in lines if line.run == run], following, last


def _line(line: Line, *, unsettled: bool) -> Reply:
    text = clean(line.raw)
    if line.cut:
        text += f"… ({line.cut} bytes more)"
    told = {"n": line.number, "run": line.run, "ts": round(line.ts, 6), "approx": line.approx, "text": text}
    return {**told, "unsettled": True} if unsettled else told


def _find(reader: LogReader, task: str, query: Query, args: Mapping[str, Any], limit: int) -> Reply:
    """Hits in the order of the direction; ``next`` is the ``start`` to go on from, None at the end of the log."""
    back = args["direction"] == "back"
    start = args["start"]
    if start is not None and back:
        start += 1  # the line itself is searched, too
    hits, following = find_lines(
        reader, task, Search(query, newest_first=back, limit=limit, start=start, max_bytes=0)
    )
    if following is not None and back:
        following -= 1
    return {"hits": hits, "next": following}
