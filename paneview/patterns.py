"""Regular expressions written by users: one kind of error for an invalid one, and no search without an end.

Python's `re` defines the syntax but must not do the searching: with a repeat inside a repeat it may take longer than
the universe is old, and meanwhile nothing else in the process runs, neither a thread nor a signal handler. `regex`
gives up after a time limit and lets other threads run meanwhile. An expression that it would read differently from
`re` is rewritten so that both mean the same. `regex` is imported at the first search that needs it: where no group is
repeated, each choice multiplies the ways through a text by its length at most, and as long as those are few, `re`
searches, which takes a quarter of the time for a short line.

Time is processor time, as `regex` counts it, so a search does not run out of time because the machine is busy.
"""

from __future__ import annotations

import re
import warnings
from math import prod

TYPE_CHECKING = False
if TYPE_CHECKING:
    import regex

LIMIT = 0.25  # seconds of one search
MOST_REPEATS = 100_000  # parts of an expression with its counted repeats expanded, as `regex` does
TOO_SLOW = "the pattern takes too long on this text; simplify it"
STEPS = 5e7  # the most that `re` may take: 0.2 seconds, if it ever came to that
_SHOWN = 200  # characters of an invalid pattern that the message shows
_TOKEN = re.compile(
    r"\(\?#[^)]*\)|\\N\{[^}]*\}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d*)(?:(,)(\d*))?\}|.", re.DOTALL
)
_BRACKET = re.compile(r"\\.|\[", re.DOTALL)
# The verbose flag: `#` begins a comment and blanks mean nothing, so `_TOKEN` cannot split the pattern into parts.
_WITH_REMARKS = re.compile(r"\(\?[a-zA-Z]*x")


class PatternError(Exception):
    """Not a regular expression, or one that cannot be searched for; the message is for people."""


class TooSlow(PatternError):  # noqa: N818 - what happened
    """A search ran out of time."""

    def __init__(self) -> None:
        super().__init__(TOO_SLOW)


class Pattern:
    """A compiled regular expression. Raises `PatternError` if ``text`` is none.

    A search raises `TooSlow` after ``limit`` seconds, or if it runs out of memory. After ``tries`` such failures, if
    given, all that need `regex` raise it at once. They raise `PatternError` if `regex` cannot compile the pattern.
    """

    def __init__(
        self,
        text: str,
        *,
        ignore_case: bool = False,
        multiline: bool = False,
        limit: float = LIMIT,
        tries: int | None = None,
    ) -> None:
        self.text = text
        self.limit = limit
        self._tries = tries
        self._flags = (re.IGNORECASE if ignore_case else 0) | (re.MULTILINE if multiline else 0)
        self._plain = _compiled(text, self._flags)
        self._reach = _reach(text)
        self._bounded: regex.Pattern[str] | None = None

    @property
    def given_up(self) -> bool:
        """Whether it has run out of time too often to be tried again."""
        return self._tries == 0

    def find(self, text: str, at: int = 0) -> int:
        """The start of the first match from index ``at`` on; -1 if there is none."""
        if len(text) - at <= self._reach:
            plain = self._plain.search(text, at)
            return -1 if plain is None else plain.start()
        engine = self._engine()
        try:
            found = engine.search(text, at, timeout=self.limit, concurrent=True)
        except (TimeoutError, MemoryError):
            raise self._too_slow() from None
        return -1 if found is None else found.start()

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The start and end of each match."""
        if len(text) <= self._reach:
            return [found.span() for found in self._plain.finditer(text)]
        engine = self._engine()
        try:
            return [found.span() for found in engine.finditer(text, timeout=self.limit, concurrent=True)]
        except (TimeoutError, MemoryError):
            raise self._too_slow() from None

    def _engine(self) -> regex.Pattern[str]:
        if self.given_up:
            raise TooSlow
        if self._bounded is None:
            import regex  # noqa: PLC0415

            try:
                self._bounded = regex.compile(_as_regex_reads_it(self.text), self._flags | regex.VERSION0)
            except (regex.error, ValueError, RecursionError, MemoryError) as error:
                raise _wrong(self.text, error) from None
        return self._bounded

    def _too_slow(self) -> TooSlow:
        if self._tries:
            self._tries -= 1
        return TooSlow()


def literal(text: str, *, ignore_case: bool = False) -> Pattern:
    """A pattern that matches exactly this text."""
    return Pattern(re.escape(text), ignore_case=ignore_case)


def check(text: str) -> None:
    """Raise `PatternError` unless this is a regular expression."""
    _compiled(text, 0)


def _compiled(text: str, flags: int) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            # `re` would warn on standard error of syntax that may change its meaning in a later Python.
            warnings.simplefilter("ignore", FutureWarning)
            found = re.compile(text, flags)
    except (re.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise _wrong(text, error) from None
    if _repeats(text) > MOST_REPEATS:
        raise _wrong(text, OverflowError())
    return found


def _wrong(text: str, error: BaseException) -> PatternError:
    if isinstance(error, RecursionError):
        told = "too many groups are nested in each other"
    elif isinstance(error, re.error):
        told = str(error)
    elif isinstance(error, OverflowError):
        told = f"written out, with all its repeats, it is longer than {MOST_REPEATS:,} parts"
    else:
        told = "it is too large" if isinstance(error, MemoryError) else str(error)
    return PatternError(f"{_shown(text)} is not a regular expression: {told}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _repeats(text: str) -> int:
    """The least number of parts of the pattern with its counted repeats expanded."""
    if _WITH_REMARKS.search(text):
        return prod(int(count) for count in re.findall(r"\d+", text) if count != "0")
    around: list[int] = []  # for each open group, the parts before it
    total = last = 0
    for token in _TOKEN.finditer(text):
        if token[0].startswith("(?#"):  # a comment
            continue
        counts = [int(count) for count in (token[1], token[3]) if count]
        if token[0] == "(":
            around.append(total)
            total = last = 0
        elif token[0] == ")" and around:
            last = total
            total += around.pop()
        elif counts:
            total += last * (max(counts) - 1)
            last *= max(counts)
        else:
            last = 1
            total += 1
    return total


def _reach(text: str) -> int:
    """The longest text, in characters, that `re` searches within `STEPS` whatever it contains; -1 if there is none."""
    if _WITH_REMARKS.search(text):
        return -1
    choices, before = 0, ""
    for token in _TOKEN.finditer(text):
        part = token[0]
        repeats = part in ("*", "+", "?") or bool(token[1] or token[2])
        if repeats and before == ")":
            return -1
        if repeats and before == "repeat" and part in ("+", "?"):
            part = ""  # makes the repeat lazy or possessive
        elif repeats or part == "|" or (part[0] == "\\" and part[1].isdigit()):
            choices, part = choices + 1, "repeat" if repeats else part
        before = ")" if part.endswith(")") and part[0] == "(" else part
    return int((STEPS / max(1, len(text))) ** (1 / (choices + 1)))


def _as_regex_reads_it(text: str) -> str:
    """The same expression, with braces and brackets escaped where only `regex` gives them a special meaning."""

    def read(token: re.Match[str]) -> str:
        if token[0] in ("{", "{}"):
            return f"\\{token[0]}"
        if token[0].startswith("[") and len(token[0]) > 1:  # not [[:digit:]]
            return "[" + _BRACKET.sub(lambda one: one[0] if len(one[0]) > 1 else "\\[", token[0][1:])
        return "*" if token[0] == "{,}" else token[0]

    return _TOKEN.sub(read, text)
