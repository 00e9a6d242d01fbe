"""Searching: against a plain loop over all lines, by example, and within memory."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.patterns import Pattern, PatternError, TooSlow
from paneview.store import match
from paneview.store.match import Query, required_literal
from paneview.store.reader import Line
from paneview.store.search import Search, find_lines, scan
from paneview.store.snapshot import Span
from tests.store.helpers import Filled, read_all

WORDS = [
    b"error",
    b"Error",
    b"er\x1b[1mror\x1b[0m",
    b"warn",
    b"10%\rerror",
    b"error\r     ",
    b"\x00er\x00ror",
    b"\xc3\x84nderung",
]
LOG = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.lists(st.sampled_from([*WORDS, b" ", b"x" * 50]), max_size=5).map(b"".join),
        st.sampled_from([b"\n", b"\r\n", b"\n" * 2, b""]),
        st.integers(0, 3),  # seconds since the last write
        st.integers(0, 9).map(lambda n: n == 0),  # a new run
    ),
    max_size=40,
)
QUERIES = st.sampled_from(
    [
        None,
        Query("error"),
        Query("ERROR", ignore_case=True),
        Query("änderung", ignore_case=True),
        Query("er+or", regex=True),
        Query("^error$", regex=True),
        Query(r"\Aer", regex=True),
        Query("(?<!x)err", regex=True),
        Query(r"x\s*x|warn\s", regex=True),
        Query("(?i)WARN", regex=True),
    ]
)
SPANS = st.tuples(st.integers(-1, 60), st.integers(-1, 60)).map(
    lambda ends: Span(float(min(ends)), float(max(ends)))
)


def fill(filled: Filled, log: list[tuple[str, bytes, bytes, int, bool]]) -> None:
    now, runs = 0, {"a": 1, "b": 2}
    for task, text, ending, pause, fresh in log:
        now += pause
        if fresh:
            runs[task] += 2
        if text + ending:
            filled.write(task, text + ending, float(now), run=runs[task])


def expected(filled: Filled, search: Search) -> list[Line]:
    """The search done by looking at every line."""
    found = []
    for task in filled.reader.tasks():
        for line in read_all(filled.reader, task):
            if not search.span.since <= line.ts < search.span.until:
                continue
            if search.query is None or search.query.matcher()(line.raw):
                found.append(line)
    found.sort(key=lambda line: line.ts, reverse=search.newest_first)
    return found


@given(log=LOG, query=QUERIES, span=st.one_of(st.just(Span()), SPANS), newest_first=st.booleans())
def test_finds_what_a_look_at_every_line_finds(
    log: list[tuple[str, bytes, bytes, int, bool]], query: Query | None, span: Span, newest_first: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        filled = Filled(Path(folder))
        try:
            fill(filled, log)
            search = Search(query, span=span, newest_first=newest_first)
            found = list(scan(filled.reader, filled.reader.tasks(), search))
            assert [line.ts for line in found] == [line.ts for line in expected(filled, search)]
            assert set(found) == set(expected(filled, search))
            for task in filled.reader.tasks():  # within a task in order of numbers
                numbers = [line.number for line in found if line.task == task]
                assert numbers == sorted(numbers, reverse=newest_first)
        finally:
            filled.close()


@pytest.fixture
def numbered(filled: Filled) -> Filled:
    """Lines 0 to 19,999 of a task over many chunks; every thousandth is a mark."""
    for start in range(0, 20_000, 500):
        lines = [b"mark %d" % n if n % 1000 == 0 else b"line %d" % n for n in range(start, start + 500)]
        filled.write("web", b"".join(line + b"\r\n" for line in lines), float(start))
    return filled


def shown(lines: list[Line]) -> list[tuple[int, bool]]:
    return [(line.number, line.match) for line in lines]


def test_context_stands_beside_its_match(numbered: Filled) -> None:
    search = Search(Query("mark 5000"), before=2, after=1)
    assert shown(list(scan(numbered.reader, ["web"], search))) == [
        (4998, False),
        (4999, False),
        (5000, True),
        (5001, False),
    ]
    back = Search(Query("mark 5000"), before=2, after=1, newest_first=True)
    assert shown(list(scan(numbered.reader, ["web"], back))) == [
        (5001, False),
        (5000, True),
        (4999, False),
        (4998, False),
    ]


def test_contexts_that_touch_are_shown_once(numbered: Filled) -> None:
    query = Query(r"^line (10|12|15)$", regex=True)
    both = [(8, False), (9, False), (10, True), (11, False), (12, True), (13, False), (14, False), (15, True)]
    assert shown(list(scan(numbered.reader, ["web"], Search(query, before=2, after=2))))[:-2] == both
    back = shown(list(scan(numbered.reader, ["web"], Search(query, before=2, after=2, newest_first=True))))
    assert back[2:] == both[::-1]


def test_context_at_the_ends_of_the_log(numbered: Filled) -> None:
    first = Search(Query("mark 0"), before=5, after=1)
    assert shown(list(scan(numbered.reader, ["web"], first))) == [(0, True), (1, False)]
    last = Search(Query("line 19999"), before=1, after=5)
    assert shown(list(scan(numbered.reader, ["web"], last))) == [(19998, False), (19999, True)]


def test_the_limit_counts_matches(numbered: Filled) -> None:
    search = Search(Query("mark"), newest_first=True, limit=3, before=1)
    found = list(scan(numbered.reader, ["web"], search))
    assert [line.number for line in found if line.match] == [19_000, 18_000, 17_000]
    assert len(found) == 6


def test_a_search_goes_on_where_it_stopped(numbered: Filled) -> None:
    for newest_first in (False, True):
        numbers: list[int] = []
        start: int | None = None
        while True:
            search = Search(Query("mark"), newest_first=newest_first, limit=3, start=start)
            hits, start = find_lines(numbered.reader, "web", search)
            numbers += hits
            if start is None:
                break
        assert numbers == sorted(range(0, 20_000, 1000), reverse=newest_first)


def test_a_line_longer_than_chunks_is_one_line(filled: Filled) -> None:
    for _ in range(30):
        filled.write("web", b"x" * 50_000)
    filled.write("web", b"needle\nnext\n")
    for newest_first in (False, True):
        found = list(scan(filled.reader, ["web"], Search(newest_first=newest_first)))
        assert sorted((line.number, len(line.raw) + line.cut) for line in found) == [(0, 1_500_006), (1, 4)]
        # Only the first megabyte of a line is searched.
        assert not list(scan(filled.reader, ["web"], Search(Query("needle"), newest_first=newest_first)))
        assert len(list(scan(filled.reader, ["web"], Search(Query("next"), newest_first=newest_first)))) == 1


def test_what_is_hidden_in_an_escape_is_no_match(filled: Filled) -> None:
    filled.write("web", b"\x1b]0;needle\x07text\n\x1b[31mred\x1b[0m\nneedle\n")
    assert [line.number for line in scan(filled.reader, ["web"], Search(Query("needle")))] == [2]
    assert not list(scan(filled.reader, ["web"], Search(Query("31m"))))


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("needle", "needle"),
        (r"status=5\d\d", "status=5"),
        (r"^\[error\] .*failed$", "[error] "),
        ("ab?c+defg*", "cdef"[1:]),
        ("colou?r", "colo"),
        (r"a{2}bcd{0,3}e", "bc"),
        (r"[abc]x[^\]def]yz", "yz"),
        (r"one|other", ""),
        (r"(?i)error", ""),
        (r"(err)or", ""),
        (r"\d+", ""),
        (r"\bword\b", "word"),
        ("", ""),
    ],
)
def test_what_every_match_contains(pattern: str, literal: str) -> None:
    assert required_literal(pattern) == literal


LETTERS = st.text(alphabet="abc(|)[]*+?{}0,1.^$\\", max_size=8)


@given(pattern=LETTERS, text=st.text(alphabet="abc01.(\\", max_size=12))
def test_a_match_contains_what_is_required(pattern: str, text: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expression = re.compile(pattern, re.MULTILINE)
    except re.error:
        return
    if expression.search(text):
        assert required_literal(pattern) in text


def test_a_bad_expression_is_a_clear_error() -> None:
    with pytest.raises(PatternError, match=r"^'\(' is not a regular expression: missing \)"):
        Query("(", regex=True)
    assert Query("(").matcher()(b"a (b)")


HANGS = b"a" * 44 + b"!\n"


@pytest.mark.parametrize("pattern", ["(a|a)+$", r"\A(a|aa)+$"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_pattern_that_takes_too_long_on_a_line_ends_the_search(
    filled: Filled, pattern: str, newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match, "Pattern", partial(Pattern, limit=0.05))
    filled.write("web", b"".join(b"%d\n" % number for number in range(500)) + HANGS + b"aaa\n")
    with pytest.raises(TooSlow):
        list(scan(filled.reader, ["web"], Search(Query(pattern, regex=True), newest_first=newest_first)))


def test_a_pattern_that_takes_too_long_on_many_lines_but_not_on_one_is_sought_line_by_line(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on over a newline, and there is no end to the ways in which it may."""
    monkeypatch.setattr(match, "Pattern", partial(Pattern, limit=0.05))
    filled.write("web", b"word;\n" + b"some words\n" * 2_000 + b"a last word;\n")
    query = Query(r"(\w+\s*)+;", regex=True)
    assert find_lines(filled.reader, "web", Search(query)) == ([0, 2_001], None)


def test_lines_that_do_not_quite_take_too_long_are_not_gone_through_without_end(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match, "LONG", 0.02)
    monkeypatch.setattr(match, "MOST_LONG", 0.1)
    line = b"a" * 17 + b"!\n"
    filled.write("web", line * 20_000)
    query = Query(r"\A(a|a)+$", regex=True)
    assert query.matcher()(line) is False
    with pytest.raises(TooSlow):
        find_lines(filled.reader, "web", Search(query))


def test_unknown_tasks_have_no_lines(filled: Filled) -> None:
    assert not list(scan(filled.reader, ["ghost"], Search()))
    filled.write("web", b"x\n")
    assert not list(scan(filled.reader, ["ghost"], Search()))
    assert len(list(scan(filled.reader, ["ghost", "web"], Search()))) == 1


def test_lines_that_arrive_during_a_scan_do_not_prolong_it(filled: Filled) -> None:
    filled.write("web", b"line\n" * 10)
    found = scan(filled.reader, ["web"], Search())
    assert len(list(islice(found, 5))) == 5
    filled.write("web", b"late\n" * 10)
    assert len(list(found)) == 5


READ = """
import re, sys
from pathlib import Path
from paneview.store.reader import LogReader
from paneview.store.search import Search, scan

def highest():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

before = highest()
with LogReader(Path(sys.argv[1]) / "logs.db", Path(sys.argv[1]) / "spool") as reader:
    for newest_first in (False, True):
        count = sum(1 for _ in scan(reader, reader.tasks(), Search(newest_first=newest_first)))
print(count, highest(), highest() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the memory's peak")
def test_memory_does_not_depend_on_the_result(filled: Filled, tmp_path: Path) -> None:
    for task in range(40):
        filled.write(f"task{task}", (b"x" * 511 + b"\n") * 1_000, float(task % 3))
    out = subprocess.run([sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, check=True)
    count, highest, grown = map(int, out.stdout.split())
    assert count == 40_000  # 20 MB
    assert grown < 20e6
    assert highest < 50e6
