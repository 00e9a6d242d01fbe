"""Printing lines of output as they come: for people, or as JSON.

``2024-01-01T14:00:00.123 text``, with the task's name in between when several are shown; ``~`` before a time says that
it is only known roughly. A task's colours are kept on a terminal and stripped in a pipe; its other escape sequences,
which move cursors or set titles, are never passed on.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from array import array
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from paneview.cli.output import RESET, clean, colourful, paint
from paneview.store.clean import clean as with_colours
from paneview.store.clean import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from paneview.cli.parser import Call
    from paneview.store.reader import Line

PREFIXES = ("cyan", "green", "yellow", "blue", "magenta", "red")


class Printer:
    """Prints lines; a context manager, since a JSON document has an end as well as a beginning."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish."""

    def show(self, lines: Iterable[Line]) -> None:
        """Print these lines now."""
        raise NotImplementedError


class PeoplePrinter(Printer):
    """Prints text. With context, ``--`` separates matches that are not next to each other, as in grep."""

    def __init__(self, names: Sequence[str], *, prefixed: bool, gaps: bool) -> None:
        self._colour = colourful()
        self._gaps = gaps
        self._prefixed = prefixed
        self._room = max((len(name) for name in names), default=0)
        self._inks: dict[str, str] = {}
        self._last: dict[str, int] = {}

    def show(self, lines: Iterable[Line]) -> None:
        """Print these lines now."""
        for line in lines:
            if self._gaps:
                self._gap(line)
            sys.stdout.write(self._line(line))
        sys.stdout.flush()

    def _gap(self, line: Line) -> None:
        last = self._last.get(line.task)
        if self._last and last != line.number - 1:
            sys.stdout.write("--\n")
        self._last[line.task] = line.number

    def _line(self, line: Line) -> str:
        text = text_of(line, colours=self._colour)
        if self._colour and "\x1b" in text:
            text += RESET
        time = paint(time_of(line), "dim", self._colour)
        if not self._prefixed:
            return f"{time} {text}\n"
        name = clean(line.task)
        ink = self._inks.setdefault(name, PREFIXES[len(self._inks) % len(PREFIXES)])
        return f"{time} {paint(f'{name:<{self._room}} |', ink, self._colour)} {text}\n"


class StreamPrinter(Printer):
    """Prints a JSON object per line, for output that has no end."""

    def show(self, lines: Iterable[Line]) -> None:
        """Print these lines now."""
        for line in lines:
            sys.stdout.write(json.dumps(entry(line)) + "\n")
        sys.stdout.flush()


class DocumentPrinter(Printer):
    """Prints one JSON object with all lines, twice: as text, and as objects; of several tasks also as text of each.

    All are kept in temporary files, not in memory, until all lines are read: after a failure midway, the error is the
    only object that is printed.
    """

    def __init__(self, task: str | None, names: Sequence[str]) -> None:
        self._task = task
        self._own = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed in __exit__
        self._own_size = 0
        self._places = {} if task else {name: array("Q") for name in names}
        """Where the lines of each task are in `_own`: begin, size, begin, size, …"""
        self._texts = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - closed in __exit__
        self._entries = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - closed in __exit__
        self._separator = ""

    def show(self, lines: Iterable[Line]) -> None:
        """Keep these lines for the end."""
        for line in lines:
            found = entry(line)
            name = "" if self._task else f"{line.task} | "
            text = f"{time_of(line)} {name}{found['text']}"
            self._texts.write(self._separator + json.dumps(text))
            self._entries.write(self._separator + json.dumps(found))
            self._separator = ", "
            if not self._task:
                text = json.dumps(f"{time_of(line)} {found['text']}")
                self._places.setdefault(line.task, array("Q")).extend((self._own_size, len(text)))
                self._own_size += self._own.write(text.encode("ascii"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print it; after an error, nothing."""
        with self._texts, self._entries, self._own:
            if kind is None:
                sys.stdout.write(f'{{"ok": true, "task": {json.dumps(self._task)}, "lines": [')
                self._texts.seek(0)
                shutil.copyfileobj(self._texts, sys.stdout)
                sys.stdout.write('], "entries": [')
                self._entries.seek(0)
                shutil.copyfileobj(self._entries, sys.stdout)
                sys.stdout.write("]")
                if not self._task:
                    self._write_tasks()
                sys.stdout.write("}\n")

    def _write_tasks(self) -> None:
        """The lines of each task, as taskmux gives those of several."""
        sys.stdout.write(', "tasks": {')
        for number, (name, places) in enumerate(self._places.items()):
            sys.stdout.write(f"{', ' if number else ''}{json.dumps(name)}: [")
            for index in range(0, len(places), 2):
                self._own.seek(places[index])
                sys.stdout.write((", " if index else "") + self._own.read(places[index + 1]).decode("ascii"))
            sys.stdout.write("]")
        sys.stdout.write("}")


def printer(call: Call, names: Sequence[str]) -> Printer:
    """The printer that the command line asks for."""
    if call.json and call.flag("follow"):
        return StreamPrinter()
    if call.json:
        return DocumentPrinter(names[0] if call.words and len(names) == 1 else None, names)
    context = any(call.flag(key) for key in ("context", "before", "after"))
    one = bool(call.words) and len(names) == 1
    return PeoplePrinter(names, prefixed=not one, gaps=context)


def entry(line: Line) -> dict[str, Any]:
    """A line as a JSON object."""
    return {
        "task": line.task,
        "run": line.run,
        "n": line.number,
        "ts": round(line.ts, 6),
        "approx": line.approx,
        "text": text_of(line, colours=False),
        "match": line.match,
    }


def text_of(line: Line, *, colours: bool) -> str:
    """The visible text, and how many bytes were cut off at its end."""
    text = with_colours(line.raw) if colours else plain(line.raw)
    return f"{text} … ({line.cut} bytes more)" if line.cut else text


def time_of(line: Line) -> str:
    """When the line came: UTC, to the millisecond; ``~`` if that is only known roughly."""
    text = datetime.fromtimestamp(line.ts, UTC).isoformat(timespec="milliseconds")
    return f"{'~' if line.approx else ''}{text.removesuffix('+00:00')}"
