"""Users' regular expressions: refused with a clear message, read like `re` reads them, searched in bounded time."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview import patterns
from paneview.config.errors import ConfigError
from paneview.config.load import load_project
from paneview.health import LogMatcher
from paneview.patterns import TOO_SLOW, Pattern, PatternError, TooSlow
from paneview.store.match import Query
from paneview.tui.logs.find import Query as TypedQuery
from paneview.tui.widgets.rowfilter import RowFilter

HANGS = "a" * 44 + "!"  # a text that `re` would search for ever
FREEZING = ["(a|a)+$", "(a|aa)+$", "^(?:a|aa|aaa)*$", "(?=(a|a)+$)"]
TOO_MANY = "a{99999999999999999999}"
TOO_DEEP = "(" * 1500 + "a" + ")" * 1500
NESTED = "(((a{1000}){1000}){1000})"
WITH_A_REMARK = "(?:a{1000})(?#z){90000}"
HIDDEN = "(?#[)((a{1000}){1000})]"
REMARKED = "(?x)#[\n((a{1000}){1000})#]"
WRONG = {
    "(": "missing ), unterminated subpattern at position 0",
    TOO_MANY: "longer than 100,000 parts",
    "a{" + "9" * 5000 + "}": "Exceeds the limit",
    TOO_DEEP: "too many groups are nested in each other",
    HIDDEN: "longer than 100,000 parts",
    WITH_A_REMARK: "longer than 100,000 parts",
    REMARKED: "longer than 100,000 parts",
    NESTED: "longer than 100,000 parts",
    "a{4294967294}": "longer than 100,000 parts",
    r"\q": r"bad escape \q at position 0",
}


def in_a_file(folder: Path, setting: str, text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("\n", "\\n")
    (folder / "paneview.toml").write_text(
        f'name = "demo"\n[tasks.t]\ncommand = "true"\n{setting.format(quoted)}\n'
    )
    load_project(folder / "paneview.toml", {})


PLACES: dict[str, Callable[[Path, str], object]] = {
    "a pattern": lambda _, text: Pattern(text),
    "a search": lambda _, text: Query(text, regex=True),
    "a log that is watched": lambda _, text: LogMatcher(text),
    "a search that is typed": lambda _, text: TypedQuery.parse(text),
    "health_log": lambda folder, text: in_a_file(folder, 'health_log = "{}"', text),
    "health_body": lambda folder, text: in_a_file(
        folder, 'health_url = "http://localhost:1/"\nhealth_body = "{}"', text
    ),
    "input_patterns": lambda folder, text: in_a_file(folder, 'input_patterns = ["{}"]', text),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_regular_expression_is_told_in_words(tmp_path: Path, place: str, text: str) -> None:
    with pytest.raises((PatternError, ConfigError, ValueError)) as caught:
        PLACES[place](tmp_path, text)
    told = str(caught.value)
    assert "is not a regular expression" in told
    assert WRONG[text] in told
    assert len(told) < 500
    if isinstance(caught.value, ConfigError):
        (problem,) = caught.value.problems
        assert problem.line in (4, 5)
        assert problem.column is not None


@pytest.mark.parametrize("text", [*WRONG, *FREEZING])
def test_rows_are_chosen_by_the_very_text_where_it_is_no_pattern_that_can_be_sought(text: str) -> None:
    kept = RowFilter(text)
    rows = [HANGS, f"before {text} behind"]
    assert kept.choose(rows, lambda row: [row]) == rows[1:]
    assert ("takes too long" in kept.told) == (text in FREEZING)
    assert RowFilter(f"!{text}").choose(rows, lambda row: [row]) == rows[:1]


def test_all_rows_together_have_a_limit() -> None:
    """Each row takes less than the limit of one search, but there are hundreds of rows at each key."""
    kept, rows = RowFilter("(a|aa)+$"), ["a" * 18 + "!"] * 500
    began = time.thread_time()
    assert kept.choose(rows, lambda row: [row]) == []
    assert "takes too long" in kept.told
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("text", ["id=[[:digit:]]+", "[[:x:]]+", r"[\[:alpha:]]", "[^[:space:]]+]"])
def test_a_class_means_the_same_in_short_and_in_long_texts(text: str) -> None:
    for seen in ("id=7 ok", "id=:]]]", "x", "[a]]"):
        long = seen + " " * 30_000
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            plain = re.search(text, long)
        assert (
            Pattern(text).find(long)
            == Pattern(f"(?:{text})+?").find(long)
            == (plain.start() if plain else -1)
        )


@pytest.mark.parametrize("text", FREEZING)
def test_a_search_without_an_end_is_given_up_while_others_run(text: str) -> None:
    ticks = 0
    over = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not over.wait(0.005):
            ticks += 1

    ticking = threading.Thread(target=tick)
    ticking.start()
    pattern = Pattern(text, limit=0.05)
    began = time.thread_time()
    with pytest.raises(TooSlow, match=TOO_SLOW):
        pattern.find(HANGS)
    with pytest.raises(TooSlow):
        pattern.spans(HANGS)
    took = time.thread_time() - began
    over.set()
    ticking.join()
    assert took < 4 * pattern.limit
    assert ticks > 4


def test_what_ran_out_of_time_as_often_as_it_may_is_not_tried_again() -> None:
    pattern = Pattern("(a|a)+$", limit=0.02, tries=2)
    for _ in range(2):
        assert not pattern.given_up
        with pytest.raises(TooSlow):
            pattern.find(HANGS)
    assert pattern.given_up
    began = time.thread_time()
    for _ in range(1000):
        with pytest.raises(TooSlow):
            pattern.find(HANGS)
    assert time.thread_time() - began < 1


PARTS = st.sampled_from(
    r"a b c \d \w \s \b . ^ $ [ab] [^a] [a-c] (a) (b|c) (?:ab) (?=a) (?!b) (?<=a) (?<!b) { } {1} {i} {e} {} {,}"
    r" {,2} {2,} * + ? *? +? *+ | ( ) [ ] - \1 \Z \A \n (?i) (?P<x>a) (?P=x) (?(1)a|b) []a] é (?>a+) (?i:A) && || --"
    r" {1,2} (?#[) {d} {s<=1} \{ \}".split(" ")
)
TEXTS = st.text(alphabet="abcABé1 \n{}ie-|&ds<=,", min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("ready", 100_000), (r"127.0.0.1", 100_000), ("^a|b$", 1000), (r"took \d+ ms", 1000), ("(GET|POST) /api", 1000),
        ("error.*timeout", 1000), ("a+?b", 1000), ("(?<!x)[0-9]+", 100), (r"(\d+)-(\d+)", 100),
    ],
)  # fmt: skip
def test_short_texts_are_sought_by_re(text: str, shortest: int) -> None:
    assert Pattern(text)._reach >= shortest


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+$", "(a|b)*", "(a){2,}", "(a)?", "(?:a+)+?", "(?>a)+", "(?x)(a+) +", "(?ix:(a+) +)", "(a+)(?#why)+",
        "(?#[)(a+)+]",
    ],
)  # fmt: skip
def test_what_repeats_a_group_is_never_sought_by_re(text: str) -> None:
    assert Pattern(text)._reach < 0


SLOW_PARTS = st.sampled_from(
    "a a+ a* a? .* .*? a{2,} [ab]+ (a+) (a|a) (?=a*) \\1 (?:a*a*) a|a $ b ! (?!a+b)".split()
)


@given(text=st.lists(SLOW_PARTS, min_size=1, max_size=8).map(lambda parts: "(a)" + "".join(parts)))
def test_whatever_re_seeks_it_is_through_in_time(text: str) -> None:
    try:
        pattern = Pattern(text)
    except PatternError:
        return
    began = time.thread_time()
    pattern._plain.search("a" * min(pattern._reach, 100_000))
    assert time.thread_time() - began < 4 * patterns.LIMIT


@given(
    text=st.lists(PARTS, max_size=6).map("".join),
    line=TEXTS,
    ignore_case=st.booleans(),
    multiline=st.booleans(),
)
def test_it_means_what_it_means_to_re(text: str, line: str, ignore_case: bool, multiline: bool) -> None:
    flags = (re.IGNORECASE if ignore_case else 0) | (re.MULTILINE if multiline else 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = re.compile(text, flags)
    except (re.error, OverflowError):
        return
    pattern = Pattern(text, ignore_case=ignore_case, multiline=multiline)
    pattern._reach = -1  # else `re` itself would search a short text
    assert pattern.spans(line) == [found.span() for found in expected.finditer(line)]
    first = expected.search(line)
    assert pattern.find(line) == (-1 if first is None else first.start())


def test_a_text_is_sought_without_the_library_and_all_else_with_it() -> None:
    code = (
        "import sys; from paneview.patterns import Pattern, check; check('(a+)+$');"
        "p = Pattern('(a+)+$'); [Pattern(t).find('x') for t in ('ready', r'127.0.0.1', '^a|b$')];"
        "before = 'regex' in sys.modules; p.find('x'); print(before, 'regex' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "True"]
