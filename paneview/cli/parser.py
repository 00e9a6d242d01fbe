"""The command line as a table, and the one loop that reads it.

Not argparse, for three reasons. It costs five of the thirty milliseconds that ``paneview status`` has. It
reads ``-g --json`` as a missing pattern, where every Unix tool reads it as the pattern ``--json``; here an
option that needs a value takes the next word, whatever it looks like. And help and completion are made from
this table as well.

Words and options mix freely; ``--`` ends the options. Long options cannot be abbreviated: a script must not
break when a new option is added.
"""

from __future__ import annotations

import os

from paneview.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# What other tools call it, where no name of ours is like it.
OTHER_WORDS = {"up": "start", "run": "start", "ps": "status", "version": "--version"}
DIGITS = 12  # of a number, at most; SQLite takes 18, and Python needs long for thousands


class Option:
    """One option: its spellings, the value it takes (None: it is a flag), and one line of help.

    `complete` names what a shell may offer as its value: ``file``, ``task``, ``event`` (a kind of event), ``verb``, or
    words separated by blanks.
    """

    __slots__ = ("complete", "help", "hidden", "metavar", "names", "repeats")

    def __init__(
        self,
        names: str,
        metavar: str | None,
        help_text: str,
        *,
        repeats: bool = False,
        complete: str = "",
        hidden: bool = False,
    ) -> None:
        self.names = names.split()
        self.metavar = metavar
        self.help = help_text
        self.repeats = repeats
        self.complete = complete
        self.hidden = hidden

    @property
    def key(self) -> str:
        """The long spelling without dashes, under which the value is found."""
        return self.names[-1].lstrip("-")


class Verb:
    """One command. `run` is ``module:function`` in this package; `words` are its arguments as the help shows
    them.

    `least` and `most` bound the number of words (None: any number). `complete` is what a shell offers for
    them. `subs` are its sub-commands, named in full (``dlq retry``); `run` is what it does without one.
    """

    __slots__ = (
        "aliases",
        "complete",
        "example",
        "hidden",
        "least",
        "most",
        "name",
        "options",
        "run",
        "subs",
        "summary",
        "words",
    )

    def __init__(  # noqa: PLR0913 - a row of a table, by keywords
        self,
        name: str,
        run: str,
        summary: str,
        *,
        aliases: Sequence[str] = (),
        words: str = "",
        least: int = 0,
        most: int | None = 0,
        options: Sequence[Option] = (),
        complete: str = "",
        example: str = "",
        hidden: bool = False,
        subs: Sequence[Verb] = (),
    ) -> None:
        self.name = name
        self.run = run
        self.summary = summary
        self.aliases = tuple(aliases)
        self.words = words
        self.least = least
        self.most = most
        self.options = tuple(options)
        self.complete = complete
        self.example = example
        self.hidden = hidden
        self.subs = {sub.name.removeprefix(f"{name} "): sub for sub in subs}


class Call:
    """A parsed command line."""

    __slots__ = ("given", "verb", "words")

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        self.words: list[str] = []
        self.given: dict[str, list[str]] = {}

    @property
    def json(self) -> bool:
        """Whether ``--json`` was asked for."""
        return "json" in self.given

    def flag(self, key: str) -> bool:
        """Whether the option was given."""
        return key in self.given

    def text(self, key: str) -> str | None:
        """The option's value, the last one if it was given more than once."""
        values = self.given.get(key)
        return values[-1] if values else None

    def texts(self, key: str) -> list[str]:
        """Every value of an option that may be repeated."""
        return self.given.get(key, [])

    def count(self, key: str) -> int | None:
        """The option's value as a whole number of 0 or more. Raises UsageError."""
        value = self.text(key)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()):
            raise UsageError(f"--{key} needs a whole number of 0 or more, not {value!r}")
        if len(value) > DIGITS:
            raise UsageError(f"--{key} needs a whole number of at most {DIGITS} digits")
        return int(value)


class Parser:
    """Reads a command line by the table of verbs; `default` is the verb if the first word is none of them.

    `later` names verbs whose table is only loaded, by `load`, when one of them is used.
    """

    def __init__(
        self,
        verbs: Iterable[Verb],
        shared: Sequence[Option],
        default: Verb,
        later: Iterable[str] = (),
        load: Callable[[], Iterable[Verb]] = tuple,
    ) -> None:
        self.shared = tuple(shared)
        self.default = default
        self.verbs: dict[str, Verb] = {}
        self._later = frozenset(later)
        self._load = load
        self._add(verbs)

    def find(self, name: str) -> Verb | None:
        """The verb of this name."""
        if name in self._later:
            self.load_all()
        return self.verbs.get(name)

    def load_all(self) -> list[Verb]:
        """Every verb there is, in the order of the tables."""
        if self._later:
            self._later = frozenset()
            self._add(self._load())
        return list(dict.fromkeys(self.verbs.values()))

    def _add(self, verbs: Iterable[Verb]) -> None:
        for verb in verbs:
            for name in (verb.name, *verb.aliases):
                self.verbs[name] = verb

    def parse(self, argv: Sequence[str]) -> Call:
        """The call that `argv` (without the program's name) means. Raises UsageError."""
        call = Call(self.default)
        rest = list(argv)
        named = False
        while rest:
            word = rest.pop(0)
            if word == "--":
                call.words += rest
                break
            if word.startswith("--"):
                self._long(call, word, rest)
            elif word.startswith("-") and word != "-":
                self._short(call, word, rest)
            elif not named and not call.words and (verb := self.find(word)):
                named = True
                self._become(call, verb)
            elif named and call.verb.subs:
                self._become(call, _sub(call.verb, word))
            elif word == "help" and not named and not call.words:  # what many type first
                call.given["help"] = [""]
            else:
                call.words.append(word)
        if not (call.flag("help") or call.flag("version")):
            if call.verb is self.default and len(call.words) > 1:
                self._check_named(call)
            _check_words(call)
        return call

    def unknown(self, word: str) -> UsageError:
        """The error for a first word that is neither a command nor a file; its hint names the nearest command."""
        meant = OTHER_WORDS.get(word)
        if meant is None:
            from difflib import get_close_matches  # noqa: PLC0415 - only needed for the error

            known = [verb.name for verb in self.load_all() if not verb.hidden]
            meant = next(iter(get_close_matches(word, known, 1)), None)
        hint = f"did you mean 'paneview {meant}'?" if meant else "'paneview --help' lists the commands"
        return UsageError(f"{word!r} is neither a command nor a file", hint, code="usage")

    def options(self, verb: Verb) -> tuple[Option, ...]:
        """The options of this verb, those of every verb included."""
        return verb.options + self.shared

    def _become(self, call: Call, verb: Verb) -> None:
        own = [option for option in verb.options if option in call.verb.options]
        known = {option.key for option in (*own, *self.shared)}
        for key in call.given:
            if key not in known:
                raise UsageError(f"--{key} does not go with '{verb.name}'", _see(verb))
        call.verb = verb

    def _check_named(self, call: Call) -> None:
        if not os.path.exists(call.words[0]):
            raise self.unknown(call.words[0])

    def _find(self, call: Call, name: str, rest: Sequence[str]) -> Option:
        for option in self.options(call.verb):
            if name in option.names:
                return option
        if call.verb is self.default and call.words:
            self._check_named(call)
        known = [other for option in self.options(call.verb) for other in option.names if not option.hidden]
        hint = self._of_a_later_verb(call.verb, name, rest) or _see(call.verb)
        raise UsageError(f"'{call.verb.name}' has no option {name}{_nearest(name, known)}", hint)

    def _of_a_later_verb(self, verb: Verb, name: str, rest: Sequence[str]) -> str:
        """A hint if the option is one of a command that comes after it."""
        for word in rest if verb is self.default or verb.subs else ():
            meant = verb.subs.get(word) or self.find(word)
            if meant is not None and any(name in option.names for option in meant.options):
                return (
                    f"it is an option of '{meant.name}' and stands after that: paneview {meant.name} {name}"
                )
        return ""

    def _long(self, call: Call, word: str, rest: list[str]) -> None:
        name, equals, value = word.partition("=")
        option = self._find(call, name, rest)
        if option.metavar is None:
            if equals:
                raise UsageError(f"{name} takes no value")
            _give(call, option, "")
        elif equals:
            _give(call, option, value)
        else:
            _give(call, option, _next(name, option, rest))

    def _short(self, call: Call, word: str, rest: list[str]) -> None:
        for position, letter in enumerate(word[1:], 2):
            option = self._find(call, f"-{letter}", rest)
            if option.metavar is None:
                _give(call, option, "")
                continue
            _give(call, option, word[position:] or _next(f"-{letter}", option, rest))
            return


def _sub(verb: Verb, word: str) -> Verb:
    if word not in verb.subs:
        there_are = (
            f"there are {', '.join(verb.subs)}" if len(verb.subs) > 1 else f"there is {', '.join(verb.subs)}"
        )
        raise UsageError(f"'{verb.name}' has no command {word!r}{_nearest(word, list(verb.subs))}", there_are)
    return verb.subs[word]


def _nearest(word: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only needed for the error

    close = get_close_matches(word, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _next(name: str, option: Option, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"{name} needs a value: {name} {option.metavar}")
    return rest.pop(0)


def _give(call: Call, option: Option, value: str) -> None:
    if option.repeats:
        call.given.setdefault(option.key, []).append(value)
    else:
        call.given[option.key] = [value]


def _see(verb: Verb) -> str:
    if verb.words.endswith("COMMAND"):
        return f"the command stands in quotes; see 'paneview {verb.name} --help'"
    return f"see 'paneview {verb.name + ' ' if verb.name != 'paneview' else ''}--help'"


def _check_words(call: Call) -> None:
    verb, given = call.verb, len(call.words)
    if given < verb.least:
        raise UsageError(f"'{verb.name}' needs {verb.words}", _see(verb))
    if verb.most is not None and given > verb.most:
        raise UsageError(f"'{verb.name}' does not take {call.words[verb.most]!r}", _see(verb))
