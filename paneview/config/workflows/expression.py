"""The little language of ``when``: comparisons of earlier results, joined by ``and``, ``or`` and ``not``.

    work.lines >= 20 or work.attempts > 1 or review.data.new

It has values (numbers, strings, ``true``, ``false``, ``null``, lists of these) and dotted paths into the results of
earlier phases; it has no calls, no arithmetic and no access to anything else. A path that leads nowhere is ``null``,
which is false and neither more nor less than anything. Evaluating an expression never raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

LONGEST = 2000  # characters
DEEPEST = 40  # brackets and nots within each other
SHOWN = 60  # characters of a value in an explanation

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?\d+(?:\.\d+)?(?![\w.-])) |
    (?P<string>"[^"\n]*"|'[^'\n]*') |
    (?P<path>(?:[A-Za-z_]|[0-9]+[A-Za-z_-])[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*) |
    (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,) |
    (?P<end>$)
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset({"and", "or", "not", "in", *_WORDS})

Values = Mapping[str, Any]
_Node = Callable[[Values], Any]


class ExpressionError(ValueError):
    """A text is not an expression; ``position`` counts characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Expression(Struct, frozen=True):
    """A parsed expression. ``paths``: those it refers to, in the order of the text."""

    text: str
    paths: tuple[str, ...]
    _node: _Node

    def holds(self, values: Values) -> bool:
        """Whether it is true of these values."""
        return truth(self._node(values))

    def explain(self, values: Values) -> str:
        """The value of each path, such as ``work.lines = 3, review.data.new = null``."""
        return ", ".join(f"{path} = {_shown(lookup(values, path))}" for path in self.paths)


def parse(text: str) -> Expression:
    """Read an expression. Raises `ExpressionError`."""
    if len(text) > LONGEST:
        raise ExpressionError(f"it is longer than {LONGEST} characters", LONGEST)
    parser = _Parser(_tokens(text))
    node = parser.either()
    parser.expect_end()
    return Expression(text, tuple(dict.fromkeys(parser.paths)), node)


def lookup(values: Values, path: str) -> Any:
    """What a dotted path leads to; None if it leads nowhere."""
    found: Any = values
    for name in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def truth(value: Any) -> bool:
    """Whether a value counts as true: all do but null, false, 0, and what is empty."""
    return bool(value)


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


class _Token(Struct, frozen=True):
    kind: str
    text: str
    position: int


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            place = len(text) - len(text[position:].lstrip())
            raise ExpressionError(f"{text[place]!r} is not understood here", place)
        tokens.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        if match.lastgroup == "end":
            return tokens
        position = match.end()


class _Parser:
    """Recursive descent; each method reads one level of precedence, the lowest first."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._depth = 0
        self.paths: list[str] = []

    @property
    def _next(self) -> _Token:
        return self._tokens[0]

    def _take(self, *texts: str) -> str | None:
        token = self._next
        if token.kind in ("sign", "path") and token.text in texts:
            del self._tokens[0]
            return token.text
        return None

    def _need(self, text: str) -> None:
        if self._take(text) is None:
            raise self._unexpected(f"{text!r} is missing")

    def _unexpected(self, message: str) -> ExpressionError:
        token = self._next
        found = f"before {token.text!r}" if token.text else "at the end"
        return ExpressionError(f"{message} {found}", token.position)

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise ExpressionError(f"{self._next.text!r} is not understood here", self._next.position)

    def either(self) -> _Node:
        sides = [self._both()]
        while self._take("or"):
            sides.append(self._both())
        return sides[0] if len(sides) == 1 else lambda values: any(truth(side(values)) for side in sides)

    def _both(self) -> _Node:
        sides = [self._negated()]
        while self._take("and"):
            sides.append(self._negated())
        return sides[0] if len(sides) == 1 else lambda values: all(truth(side(values)) for side in sides)

    def _negated(self) -> _Node:
        if self._take("not"):
            self._deeper()
            inner = self._negated()
            self._depth -= 1
            return lambda values: not truth(inner(values))
        return self._compared()

    def _compared(self) -> _Node:
        left = self._value()
        sign = self._take(*_COMPARE)
        if sign is None:
            return left
        right, compare = self._value(), _COMPARE[sign]
        return lambda values: compare(left(values), right(values))

    def _value(self) -> _Node:
        token = self._next
        if self._take("("):
            self._deeper()
            inner = self.either()
            self._need(")")
            self._depth -= 1
            return inner
        if self._take("["):
            return self._list()
        if token.kind == "path" and token.text not in _RESERVED:
            return self._path()
        constant = self._constant()
        return lambda _values: constant

    def _path(self) -> _Node:
        path = self._tokens.pop(0).text
        self.paths.append(path)
        return lambda values: lookup(values, path)

    def _constant(self) -> Any:
        token = self._next
        if token.kind == "number":
            constant: Any = float(token.text) if "." in token.text else int(token.text)
        elif token.kind == "string":
            constant = token.text[1:-1]
        elif token.kind == "path" and token.text in _WORDS:
            constant = _WORDS[token.text]
        else:
            raise self._unexpected("a value is missing")
        del self._tokens[0]
        return constant

    def _list(self) -> _Node:
        items: list[Any] = []
        while not self._take("]"):
            if items:
                self._need(",")
            items.append(self._constant())
        return lambda _values: items

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ExpressionError(f"nested more than {DEEPEST} levels deep", self._next.position)


def _kind(value: Any) -> str:
    """The kind of a value in comparisons: whole and other numbers are one kind, true and false another."""
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _same(left: Any, right: Any) -> bool:
    return _kind(left) == _kind(right) and bool(left == right)


def _ordered(left: Any, right: Any) -> bool:
    return _kind(left) == _kind(right) and _kind(left) in ("number", "str")


def _within(left: Any, right: Any) -> bool:
    if isinstance(right, list):
        return any(_same(left, item) for item in right)
    return isinstance(right, str | Mapping) and isinstance(left, str) and left in right


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
    "<": lambda left, right: _ordered(left, right) and left < right,
    "<=": lambda left, right: _ordered(left, right) and left <= right,
    ">": lambda left, right: _ordered(left, right) and left > right,
    ">=": lambda left, right: _ordered(left, right) and left >= right,
    "in": _within,
}
