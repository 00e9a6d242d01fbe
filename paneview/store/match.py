"""Which lines of a piece match: a whole chunk is searched before any of its lines.

A literal is searched in the chunk's raw bytes (some GB/s); only a chunk with control bytes is cleaned first,
because colours and redraws may come between the letters, and letters inside an escape are no match. So
most chunks of a search cost 50 µs and create no objects; one that lacks a letter of the literal costs almost nothing.

A regular expression runs over the chunk's text in the same way, and each line it hits is tried again on its
own, because a match must not cross a newline. An expression that may match a line alone but not within a
longer text (anchors of the whole text, lookaround, possessive repeats) is tried line by line from the
beginning. So is one that runs out of time in a chunk, from that chunk on, since it may scan the whole chunk
from each position. If a single line takes too long, the search ends with `TooSlow`; so does a search whose slow
lines take too long together.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable

from msgspec import Struct

from paneview.patterns import Pattern, TooSlow
from paneview.store.clean import plain
from paneview.store.pieces import Piece

MANY = 50
AT_ONCE = 8  # lines tried between two readings of the clock
LONG = 0.1  # seconds a piece may take line by line without counting towards MOST_LONG
MOST_LONG = 2.0  # seconds that all slower pieces of a search may take together
NONE = array("q")
_SGR = re.compile(rb"\x1b\[[0-9;:]*m")
_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[^}]*\}|.", re.DOTALL)
_INNER_RETURN = re.compile(rb"\r(?![\r\n]|\Z)")
_ALONE = re.compile(r"\(\?[^:]|\\[AZ]|[*+?}]\+")

Finder = Callable[[Piece], "array[int]"]  # the numbers of the lines that match, in order


class Query(Struct, frozen=True):
    """What to search for in the visible text of a line. Raises `PatternError` for a bad expression."""

    pattern: str
    regex: bool = False
    ignore_case: bool = False

    def __post_init__(self) -> None:
        self.expression()

    def expression(self) -> Pattern:
        """The query as a pattern for one line."""
        text = self.pattern if self.regex else re.escape(self.pattern)
        return Pattern(text, ignore_case=self.ignore_case, multiline=True)

    def matcher(self) -> Callable[[bytes], bool]:
        """A function that tells whether a line matches. It may raise `TooSlow`."""
        expression = self.expression()
        return lambda raw: expression.find(plain(raw)) >= 0


def finder(query: Query) -> Finder:
    """A function that finds the query's lines in a piece."""
    if query.regex or (query.ignore_case and not query.pattern.isascii()):
        return _expression(query)
    needle = query.pattern.encode()
    if not query.ignore_case:
        letters = [(byte, byte) for byte in _letters(needle)]
        return lambda piece: _literal(needle, piece, visible(piece)) if _may_hold(piece, letters) else NONE
    needle = needle.lower()
    letters = [(byte, byte.upper()) for byte in _letters(needle)]
    return lambda piece: (
        _literal(needle, piece, visible(piece).lower()) if _may_hold(piece, letters) else NONE
    )


def _letters(needle: bytes) -> list[bytes]:
    """Its ASCII letters and digits, each once: cleaning a body never adds any, so its raw bytes must have them."""
    return [byte for byte in (bytes([code]) for code in sorted(set(needle))) if byte.isalnum()]


def _may_hold(piece: Piece, letters: list[tuple[bytes, bytes]]) -> bool:
    """Whether each of these bytes, in either case, occurs at all: a cheap test that rules out many pieces."""
    body = piece.body
    return all(lower in body or upper in body for lower, upper in letters)


def _expression(query: Query) -> Finder:
    literal = required_literal(query.pattern) if query.regex else ""
    if query.ignore_case:
        literal = literal.lower() if literal.isascii() else ""
    needle = literal.encode()
    lines = _Lines(query)

    def find(piece: Piece) -> array[int]:
        body = visible(piece)
        if needle and needle not in (body.lower() if query.ignore_case else body):
            return array("q")
        return lines.found_in(piece, body.translate(None, b"\r").decode("utf-8", "replace"))

    return find


def required_literal(pattern: str) -> str:
    """The longest text that every match of the expression contains; empty if that is not obvious.

    Searching for it first makes most expressions as fast as a literal.
    """
    found, run = [""], ""
    for part in _PART.findall(pattern):
        if part in ("(", "|"):
            return ""
        if part in ("*", "?") or part[0] == "{":
            run = run[:-1]  # the last character is optional
        elif len(part) == 1 and part not in ".^$+":
            run += part
            continue
        elif len(part) == 2 and not part[1].isalnum():
            run += part[1]
            continue
        found.append(run)
        run = ""
    return max([*found, run], key=len)


def visible(piece: Piece) -> bytes:
    """The visible text of a piece, line for line; its own bytes if line ends are its only control characters."""
    body = piece.body
    if b"\x1b" in body:
        body = _SGR.sub(b"", body)
    if b"\x1b" in body or b"\b" in body or b"\0" in body or _redraws(piece):
        return b"\n".join([plain(line).encode() for line in body.split(b"\n")])
    return body


def _redraws(piece: Piece) -> bool:
    """Whether there is a carriage return inside a line. The one a terminal puts before each newline doesn't count."""
    body = piece.body
    returns = body.count(b"\r")
    newlines = piece.end - piece.first - (not body.endswith(b"\n"))
    # Equal and large counts mean pairs: checking each would take three times as long.
    if not returns or (returns == newlines and returns >= MANY):
        return False
    return _INNER_RETURN.search(body) is not None


def _literal(needle: bytes, piece: Piece, body: bytes) -> array[int]:
    numbers = array("q")
    number, counted = piece.first, 0
    at = body.find(needle)
    while at >= 0:
        number += body.count(b"\n", counted, at)
        numbers.append(number)
        counted = body.find(b"\n", at)
        if counted < 0:
            break
        at = body.find(needle, counted)
    return numbers


class _Lines:
    """Finds the lines of one query, piece by piece."""

    def __init__(self, query: Query) -> None:
        self._expression = query.expression()
        self._one_by_one = query.regex and _ALONE.search(query.pattern) is not None
        self._long = 0.0

    def found_in(self, piece: Piece, text: str) -> array[int]:
        """The numbers of the lines that match."""
        if not self._one_by_one:
            try:
                return self._within(piece, text)
            except TooSlow:
                self._one_by_one = True
        return self._alone(piece, text)

    def _within(self, piece: Piece, text: str) -> array[int]:
        find, until = self._expression.find, time.thread_time() + self._expression.limit
        numbers = array("q")
        number, counted, at = piece.first, 0, 0
        while (found := find(text, at)) >= 0:
            begin = text.rfind("\n", 0, found) + 1
            end = text.find("\n", found)
            end = len(text) if end < 0 else end
            number += text.count("\n", counted, begin)
            counted, at = begin, end + 1
            if number >= piece.end:
                break  # after the last newline
            if find(text[begin:end]) >= 0:
                numbers.append(number)
            if at > len(text):
                break
            if time.thread_time() > until:
                raise TooSlow
        return numbers

    def _alone(self, piece: Piece, text: str) -> array[int]:
        find, numbers = self._expression.find, array("q")
        lines = text.split("\n")[: piece.end - piece.first]
        began, took = time.thread_time(), 0.0
        for at in range(0, len(lines), AT_ONCE):
            some = lines[at : at + AT_ONCE]
            numbers.extend(piece.first + number for number, line in enumerate(some, at) if find(line) >= 0)
            took = time.thread_time() - began
            if took > LONG and self._long + took > MOST_LONG:
                raise TooSlow
        if took > LONG:
            self._long += took
        return numbers
