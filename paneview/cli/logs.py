"""``logs`` and ``logs-clean``. Reads the store directly, so it works the same with and without a supervisor.

Nothing large is held in memory: a search through ten million lines prints as it goes, and only the last lines of a log,
which have to be reversed, are held, up to `HELD` of them.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from paneview.cli import place
from paneview.cli.errors import UsageError, unknown_task
from paneview.cli.follow import Tail, follow, whole_end
from paneview.cli.logprint import printer
from paneview.cli.output import complain
from paneview.cli.times import optional_when
from paneview.config import paths
from paneview.control.errors import NoSupervisor
from paneview.patterns import PatternError
from paneview.store.match import Query
from paneview.store.reader import Line, LogReader
from paneview.store.search import Search, scan
from paneview.store.snapshot import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from paneview.cli.parser import Call

DEFAULT_LINES = 100
SLACK = 60.0  # seconds
HELD = 2_000  # lines in memory; for more, the store is read twice


class Wanted(NamedTuple):
    """Which lines were asked for; `last` None: all of them."""

    query: Query | None
    span: Span
    last: int | None
    before: int
    after: int


def logs(call: Call) -> int:
    """Show stored output, and with ``-f`` new output as it comes."""
    wanted = _wanted(call)
    here = place.find(call)
    names = _known_names(here)
    tasks = _choose(call.words, names)
    out = printer(call, tasks or names)
    if here.folder is None:
        with out:
            return 0
    folder = Path(here.folder)
    with LogReader(paths.logs_db(folder), paths.spool_dir(folder)) as reader, out:
        shown = tasks or reader.tasks()
        if not call.flag("follow"):
            out.show(_past(reader, shown, wanted))
            return 0
        with suppress(KeyboardInterrupt):
            # What is stored before this moment is the past; the tails begin where it ends.
            ends = {name: _end(reader, name) for name in shown}
            out.show(line for line in _past(reader, shown, wanted) if line.number < ends[line.task])
            tails = {name: Tail(reader, name, end) for name, end in ends.items()}
            matching = _Filter(wanted)
            for lines in follow(here, folder, reader, tails, every=not tasks):
                if not call.json:  # programs see it by the numbers
                    _complain_of_gaps(tails)
                out.show(matching.of(lines))
    return 0


def logs_clean(call: Call) -> int:
    """Delete stored output; the supervisor does it if one runs, since it alone writes the store."""
    from paneview.cli.lifecycle import print_reply  # noqa: PLC0415

    here = place.find(call)
    names = _known_names(here)
    tasks = _choose(call.words, names)
    try:
        reply = here.ask("logs_clean", {"tasks": tasks or None}, timeout=None)
    except NoSupervisor:
        from paneview.cli.offline import clean_logs  # noqa: PLC0415

        cleaned = clean_logs(here.folder, tasks or None)
        reply = {"results": [{"ok": True, "task": name, "action": "cleaned"} for name in cleaned]}
    return print_reply(call, reply, "no output is stored")


def _wanted(call: Call) -> Wanted:
    pattern = call.text("grep")
    if pattern is None and (call.flag("regex") or call.flag("ignore-case")):
        raise UsageError("--regex and --ignore-case say how -g PATTERN is meant, and there is none")
    if call.flag("follow") and call.flag("until"):
        raise UsageError("-f shows what comes, --until ends before; give one of them")
    query = None
    if pattern is not None:
        try:
            # As on the screen. taskmux, whose `-g error` finds "ERROR", never tells them apart.
            either_case = call.flag("ignore-case") or pattern == pattern.lower()
            query = Query(pattern, regex=call.flag("regex"), ignore_case=either_case)
        except PatternError as error:
            raise UsageError(str(error)) from error
    since = optional_when(call.text("since"), "--since")
    until = optional_when(call.text("until"), "--until")
    around = call.count("context") or 0
    before, after = call.count("before"), call.count("after")
    last = call.count("lines")
    if last is None and query is None and since is None:
        last = DEFAULT_LINES
    return Wanted(
        query,
        Span(float("-inf") if since is None else since, float("inf") if until is None else until),
        last,
        around if before is None else before,
        around if after is None else after,
    )


def _known_names(here: place.Place) -> list[str]:
    """The tasks of the file, even if it has mistakes, and those that have left output."""
    from paneview.cli.completion import names_in_file  # noqa: PLC0415

    names = names_in_file(here.file)
    if here.folder is not None:
        with LogReader(paths.logs_db(Path(here.folder)), paths.spool_dir(Path(here.folder))) as reader:
            names += [name for name in reader.tasks() if name not in names]
    return names


def _choose(words: list[str], names: list[str]) -> list[str]:
    """The tasks that `words` name; a task with replicas stands for all of them. Raises CliError for an unknown one."""
    chosen: list[str] = []
    for word in words:
        replicas = [name for name in names if name.startswith(f"{word}.") and name[len(word) + 1 :].isdigit()]
        if word not in names and not replicas:
            raise unknown_task(word, names)
        chosen += [name for name in (replicas or [word]) if name not in chosen]
    return chosen


def _past(reader: LogReader, tasks: list[str], wanted: Wanted) -> Iterator[Line]:
    search = Search(wanted.query, span=wanted.span, before=wanted.before, after=wanted.after)
    if wanted.last is None:
        return scan(reader, tasks, search)
    newest = scan(reader, tasks, replace(search, newest_first=True, limit=wanted.last))
    if wanted.last <= HELD:
        return reversed(list(newest))
    return _again(reader, tasks, search, newest)


def _again(reader: LogReader, tasks: list[str], search: Search, newest: Iterator[Line]) -> Iterator[Line]:
    """The lines of `newest`, oldest first, found by a second search that begins at the oldest of them."""
    first: dict[str, int] = {}
    count, since = 0, float("inf")
    for line in newest:
        first[line.task] = line.number
        since = min(since, line.ts)
        count += 1
    # Times shift by a hair if chunks are merged meanwhile: the numbers decide, the span only saves reading older lines.
    search = replace(search, span=Span(max(since - SLACK, search.span.since), search.span.until))
    lines = (
        line for line in scan(reader, tasks, search) if line.number >= first.get(line.task, line.number + 1)
    )
    return islice(lines, count)


def _end(reader: LogReader, task: str) -> int:
    """One past the last line that has its newline."""
    source = reader.lines_of(task)
    if source is None:
        return 0
    end = source.bounds()[1]
    piece = next(source.backward(end), None)
    return end if piece is None else whole_end(piece)


def _complain_of_gaps(tails: Mapping[str, Tail]) -> None:
    for name, tail in tails.items():
        if missed := tail.missed():
            complain(f"{name}: {missed} lines are missing here: they were removed, by log_max_size, too soon")


class _Filter:
    """Picks the lines of a query, with context, from new lines, as `scan` does from stored ones."""

    def __init__(self, wanted: Wanted) -> None:
        self._matches = None if wanted.query is None else wanted.query.matcher()
        self._before: dict[str, deque[Line]] = {}
        self._room = wanted.before
        self._after = wanted.after
        self._left: dict[str, int] = {}

    def of(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The lines to show."""
        for line in lines:
            waiting = self._before.setdefault(line.task, deque(maxlen=self._room))
            if self._matches is None or self._matches(line.raw):
                yield from waiting
                waiting.clear()
                self._left[line.task] = self._after
                yield line
            elif self._left.get(line.task, 0) > 0:
                self._left[line.task] -= 1
                yield line._replace(match=False)
            else:
                waiting.append(line._replace(match=False))
