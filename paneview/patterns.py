"""Regular expressions that a user writes: one kind of error for a wrong one, and no search without an end.

Python's `re` says what an expression is and how it is written, but must not search for it: a repeat within a repeat
may take it longer than the universe is old, and meanwhile nothing else in the process runs, no thread and no signal's
handler. `regex` gives up after a time and lets others run meanwhile. Where it would read an expression otherwise than
`re` does, it gets it so that both mean the same. It is imported with the first search that needs it: where no group is
repeated, each choice multiplies the ways through a text by its length at most, and while that is not many `re` searches
itself: it takes a quarter of the time for a short line.

Time is the processor's, as `regex` counts it, so a search does not run out of it because the machine is busy.
"""

from __future__ import annotations

import re
import warnings
from math import prod

TYPE_CHECKING = False
if TYPE_CHECKING:
    import regex

LIMIT = 0.25  # seconds of one search
MOST_REPEATS = 100_000  # of one part, those of what it lies in multiplied: `regex` writes them out one by one
TOO_SLOW = "the pattern takes too long on this text; simplify it"
STEPS = 5e7  # that `re` may take at most, 0.2 seconds if it ever did
_SHOWN = 200  # characters of a wrong pattern that are told
_TOKEN = re.compile(
    r"\(\?#[^)]*\)|\\N\{[^}]*\}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d*)(?:(,)(\d*))?\}|.", re.DOTALL
)
_BRACKET = re.compile(r"\\.|\[", re.DOTALL)
# The verbose flag: `#` begins a remark and blanks mean nothing, so the parts cannot be told apart as below.
_WITH_REMARKS = re.compile(r"\(\?[a-zA-Z]*x")


class PatternError(Exception):
    """Not a regular expression, or one that cannot be sought; the message is for people."""


class TooSlow(PatternError):  # noqa: N818 - what happened
    """A search ran out of time."""

    def __init__(self) -> None:
        super().__init__(TOO_SLOW)


class Pattern:
    """A regular expression, ready to be sought. Raises `PatternError` for what is none.

    Each search raises `TooSlow` after ``limit`` seconds. After ``tries`` of them, if given, every other one does so at
    once. It raises `PatternError` for what takes more memory than it may.
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
        """It has run out of time too often to be tried again."""
        return self._tries == 0

    def find(self, text: str, at: int = 0) -> int:
        """Where its first match from there on begins; -1 if there is none."""
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
        """Where all its matches begin and end."""
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
    """The pattern of this very text."""
    return Pattern(re.escape(text), ignore_case=ignore_case)


def check(text: str) -> None:
    """Raise `PatternError` unless this is a regular expression."""
    _compiled(text, 0)


def _compiled(text: str, flags: int) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            # What may mean something else in a Python to come would be told on the standard error.
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
    """How many parts it has at least when its counted repeats are written out."""
    if _WITH_REMARKS.search(text):
        return prod(int(count) for count in re.findall(r"\d+", text) if count != "0")
    around: list[int] = []  # what stands before each of the groups that are open
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
    """How long a text may be for `re`: at most so many characters take it `STEPS`, whatever they are."""
    if _WITH_REMARKS.search(text):
        return -1
    choices, before = 0, ""
    for token in _TOKEN.finditer(text):
        part = token[0]
        repeats = part in ("*", "+", "?") or bool(token[1] or token[2])
        if repeats and before == ")":
            return -1
        if repeats and before == "repeat" and part in ("+", "?"):
            part = ""  # says how the repeat is meant
        elif repeats or part == "|" or (part[0] == "\\" and part[1].isdigit()):
            choices, part = choices + 1, "repeat" if repeats else part
        before = ")" if part.endswith(")") and part[0] == "(" else part
    return int((STEPS / max(1, len(text))) ** (1 / (choices + 1)))


def _as_regex_reads_it(text: str) -> str:
    """The same expression where a brace means no more than it does to `re`: `regex` has other uses for it."""

    def read(token: re.Match[str]) -> str:
        if token[0] in ("{", "{}"):
            return f"\\{token[0]}"
        if token[0].startswith("[") and len(token[0]) > 1:  # not [[:digit:]]
            return "[" + _BRACKET.sub(lambda one: one[0] if len(one[0]) > 1 else "\\[", token[0][1:])
        return "*" if token[0] == "{,}" else token[0]

    return _TOKEN.sub(read, text)
