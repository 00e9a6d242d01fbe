"""Does a task wait for an answer? What its screen must show for that, and when to look.

A look costs something, so there is one only when output has stopped, and only inside a line or on an agent's screen:
a task that writes whole lines, or nothing, is never looked at. A question is over when the screen no longer shows it,
or when output flows on without a pause.

The state machine is pure, like all rules: `step` takes an event, and returns the new state and the effects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

QUIET = 0.1  # seconds without output after which a task may be waiting
FLOWING = 0.5  # seconds of output without such a pause, after which a question counts as answered
AGAIN = 1.0  # seconds until the next look at an agent that was busy while its screen did not change
SCREEN_LINES = 15  # lines at the end of a screen that are searched for a menu
LONGEST = 200  # characters of a question that are reported

# For the line with the cursor, without trailing blanks. Programs that report progress stop within a line, too, so
# the end of each pattern must show that it is the reader's turn.
DEFAULT_PATTERNS = (
    r"\b(?:password|passphrase|passcode|passwd|user ?name|login|e-?mail|token|otp|pin|code)\b(?:[^:]|:\S){0,80}:$",
    r"[\[(](?:y(?:es)?/no?|no?/y(?:es)?)(?:/[^\])]{0,20})*[\])]*\W{0,3}$",
    r"^\W{0,3}\? \S",
    r"\w[^\w\s]{0,2}\?$",
    r"\b(?:press|hit) (?:\S+ )?(?:enter|return|any key|a key)\b.{0,40}$",
    r"\b(?:enter|type|choose|select|input|pick|specify)\b[^:]{0,80}:$",
    r"^\s*(?:\(\S*pdb\S*\)|ipdb>|\(rdb:\d+\)|\(byebug\)|\[\d+\] pry\(.*\)>|\(gdb\)|\(lldb\)|\(dlv\))$",
)
_QUESTION_OF_A_MENU = re.compile(
    r"^[\s│|]*(?:\? \S|◆ |do you want|would you like|.{3,}\?\s*[│|]?\s*$)", re.IGNORECASE
)
_CHOICE = re.compile("^[\\s│|]*[\u276f\u203a\u25b8\u27a4]\\s*\\S")  # an arrow before the chosen one
_FRAME = " \t│|╭╮╰╯─"
_AGENTS = re.compile(r"(?:^|[\s/;&|(])(?:claude|codex|gemini|opencode|aider)(?:$|[\s;&|)])")


class Sought(Protocol):
    """A pattern, such as a compiled regular expression."""

    def search(self, line: str, /) -> object:
        """Something other than None if the line matches."""
        ...


class Screen(NamedTuple):
    """What a pane shows: its lines, and the index of the cursor's line."""

    lines: Sequence[str]
    cursor: int


def compiled(patterns: Iterable[str] = DEFAULT_PATTERNS) -> tuple[Sought, ...]:
    """Compile patterns that are known to be harmless, as the default ones are; they ignore case."""
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


def may_be_agent(command: str) -> bool:
    """Whether the command may run an agent: agents draw whole screens, so their output may stop anywhere."""
    return bool(_AGENTS.search(command))


def question(screen: Screen, patterns: Sequence[Sought], *, menus: bool = True, asked: str = "") -> str:
    """The question on the screen, as one line; empty if there is none.

    ``asked`` is the question at the last look; it still counts while an answer is being typed after it.
    """
    line = screen.lines[screen.cursor].rstrip() if screen.cursor < len(screen.lines) else ""
    shown = line.strip(_FRAME)
    if line and any(pattern.search(line) for pattern in patterns):
        return shown[-LONGEST:]
    if asked and shown[-LONGEST:].startswith(asked):
        return asked
    return _menu(screen.lines) if menus else ""


def _menu(lines: Sequence[str]) -> str:
    """The question above a list of choices, at the end of the screen."""
    shown = [line for line in lines if line.strip(_FRAME)][-SCREEN_LINES:]
    choices = [at for at, line in enumerate(shown) if _CHOICE.match(line)]
    if not choices:
        return ""
    asked = [line for line in shown[: choices[-1]] if _QUESTION_OF_A_MENU.match(line)]
    return asked[-1].strip(_FRAME)[:LONGEST] if asked else ""


class Asking(Struct, frozen=True):
    """The state of one run. ``question`` is what it asks; empty while it waits for no answer."""

    question: str = ""
    grew_at: float = 0.0
    flows_since: float = 0.0
    due: float | None = None


class Grew(Struct, frozen=True):
    """There is new output. ``worth``: it stopped where a question may be, so the screen is worth a look."""

    worth: bool = True


class Due(Struct, frozen=True):
    """The time in `Asking.due` has come."""


class Saw(Struct, frozen=True):
    """The result of a look. ``busy``: an agent reports that it is working."""

    question: str
    busy: bool = False


class Look(Struct, frozen=True):
    """Look at the screen."""


class Asks(Struct, frozen=True):
    """The task waits for an answer to this."""

    question: str


class Answered(Struct, frozen=True):
    """The task no longer waits for an answer."""


Event = Grew | Due | Saw
Effect = Look | Asks | Answered


def step(state: Asking, event: Event, now: float) -> tuple[Asking, tuple[Effect, ...]]:
    """The new state and the effects of an event. The caller must send `Due` at the new state's ``due``."""
    match event:
        case Grew(worth):
            return _grew(state, now, worth), ()
        case Due():
            return _due(state, now)
        case Saw(found, busy):
            return _saw(state, found, now, busy=busy)


def _grew(state: Asking, now: float, worth: bool) -> Asking:
    paused = now >= state.grew_at + QUIET
    grown = replace(state, grew_at=now, flows_since=now if paused else state.flows_since)
    if grown.due is None and (worth or grown.question):
        return replace(grown, due=now + QUIET)
    return grown


def _due(state: Asking, now: float) -> tuple[Asking, tuple[Effect, ...]]:
    if now >= state.grew_at + QUIET:
        return replace(state, due=None), (Look(),)
    waiting = replace(state, due=state.grew_at + QUIET)
    if state.question and now - state.flows_since >= FLOWING:
        return replace(waiting, question=""), (Answered(),)
    return waiting, ()


def _saw(state: Asking, found: str, now: float, *, busy: bool) -> tuple[Asking, tuple[Effect, ...]]:
    if busy and state.due is None:
        state = replace(state, due=now + AGAIN)
    if found == state.question:
        return state, ()
    told: Effect = Asks(found) if found else Answered()
    return replace(state, question=found), (told,)
