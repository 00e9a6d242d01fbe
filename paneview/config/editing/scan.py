"""Positions in a TOML document: of each key and value by its path, of each statement as a span of text.

tomllib tells what a document says, not where. This scanner runs over text that tomllib has already accepted,
so it can be small: it follows brackets, quotes and dots and checks nothing. A library was tried: a syntax
tree of TOML needs a compiled parser and still leaves dotted keys, headers and arrays of tables to be put
together, which is most of this.

Offsets are into the text as read (no newline translation), so that an edit can cut exactly.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from msgspec import Struct

from paneview.config.validate import Path

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_END_OF_LINE = re.compile(r"[^\n]*\n?")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'", re.DOTALL
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^,\]}\s#]*|[^,\]}\s#]+")


class Span(Struct, frozen=True):
    """Where a key (the last part of a dotted one) and its value begin; for a table without a value, both are the
    key's."""

    key: int
    value: int


class Statement(Struct, frozen=True):
    """One header or one ``key = value``, with the whole lines it takes (its own comment and newline
    included)."""

    path: Path
    is_header: bool
    start: int
    end: int


class Document(Struct):
    """A scanned document."""

    text: str
    statements: list[Statement] = []
    spans: dict[Path, Span] = {}
    """Values and tables by path; for a table that appears in several places, its own header, else the first
    place."""
    inline: dict[Path, list[Statement]] = {}
    """The entries of each inline table, from the first letter of the key to the last of the value."""

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1


def scan(text: str) -> Document:
    """Scan `text`, which must be valid TOML."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.document = Document(text)
        self.array_lengths: dict[Path, int] = {}

    def run(self) -> Document:
        table: Path = ()
        while self._skip(_BLANK) < len(self.text):
            start = self.text.rfind("\n", 0, self.at) + 1
            is_header = self.text[self.at] == "["
            path = table = self._header() if is_header else table
            if not is_header:
                path = self._pair(table)
            self._skip(_END_OF_LINE)
            self.document.statements.append(Statement(path, is_header, start, self.at))
        return self.document

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        assert match is not None, f"not valid TOML at offset {self.at}"
        self.at = match.end()
        return self.at

    def _header(self) -> Path:
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path: Path = ()
        keys = list(self._keys())
        for number, (key, start) in enumerate(keys, 1):
            path = (*path, key)
            is_last = number == len(keys)
            if is_last and is_array:
                self.array_lengths[path] = self.array_lengths.get(path, 0) + 1
            self._record(path, start, replace=is_last)
            if path in self.array_lengths:
                path = (*path, self.array_lengths[path] - 1)
                self._record(path, start)
        return path

    def _pair(self, table: Path) -> Path:
        path = table
        for key, start in self._keys():
            path = (*path, key)
            self._record(path, start)
        self.at += 1  # the =
        self._skip(_SPACE)
        self.document.spans[path] = Span(self.document.spans[path].key, self.at)
        self._value(path)
        return path

    def _record(self, path: Path, start: int, *, replace: bool = False) -> None:
        if replace or path not in self.document.spans:
            self.document.spans[path] = Span(start, start)

    def _keys(self) -> Iterator[tuple[str, int]]:
        """The parts of a dotted key, each with where it starts; stops at what follows the key."""
        while True:
            self._skip(_SPACE)
            start = self.at
            quote = self.text[start]
            self._skip(_STRING if quote in "\"'" else _BARE_KEY)
            part = self.text[start : self.at]
            self._skip(_SPACE)
            yield (_unquote(part) if quote in "\"'" else part), start
            if self.text[self.at] != ".":
                return
            self.at += 1

    def _value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._skip(_STRING if opening in "\"'" else _SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self.text[self._skip(_BLANK)] != "]":
            self._record((*path, index), self.at)
            self._value((*path, index))
            index += 1
            if self.text[self._skip(_BLANK)] == ",":
                self.at += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        entries = self.document.inline[path] = []
        self.at += 1
        while self.text[start := self._skip(_BLANK)] != "}":
            entries.append(Statement(self._pair(path), False, start, self.at))
            if self.text[self._skip(_BLANK)] == ",":
                self.at += 1
        self.at += 1


def _unquote(quoted: str) -> str:
    if quoted[0] == "'":
        return quoted[1:-1]
    import tomllib  # noqa: PLC0415 - only for keys in double quotes, which are rare

    key: str = tomllib.loads(f"key = {quoted}")["key"]
    return key
