from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paneview.cli.output import NARROW, Cell, Column, clean, cut, table, width
from tests.texts import texts

COLUMNS = (
    Column("NAME", flex=True),
    Column("STATE"),
    Column("PID", right=True, drop=1),
    Column("MEM", right=True, drop=2),
)


@given(texts())
def test_nothing_that_acts_on_a_terminal_comes_through(text: str) -> None:
    shown = clean(text)
    assert shown.isprintable()
    assert "\x1b" not in shown
    if text.isprintable():
        assert shown == text


def test_escapes_stay_visible() -> None:
    assert clean("a\x1b[31mb\nc\x9b") == "a\\x1b[31mb\\nc\\x9b"


@given(texts(), st.integers(1, 40))
def test_cut_fits(text: str, room: int) -> None:
    text = clean(text)
    assert width(cut(text, room)) <= room
    if width(text) <= room:
        assert cut(text, room) == text


def rows(name: str) -> list[list[Cell]]:
    return [
        [Cell(name), Cell("running"), Cell(12), Cell("1M")],
        [Cell("b"), Cell("done"), Cell(3), Cell("20M")],
    ]


def test_a_table_is_aligned() -> None:
    assert table(COLUMNS, rows("a"), 80, colour=False) == [
        "NAME  STATE    PID  MEM",
        "a     running   12   1M",
        "b     done       3  20M",
    ]


@given(st.text(alphabet=st.characters(exclude_categories=["C"]), max_size=60), st.integers(20, 120))
def test_a_table_fits_and_drops_columns_before_it_cuts_much(name: str, limit: int) -> None:
    lines = table(COLUMNS, rows(name), limit, colour=False)
    assert all(width(line) <= limit for line in lines)
    shown = width(lines[1]) - width(lines[1].partition("running")[2]) - len("  running")
    if "…" in lines[1] and "…" not in name and shown < NARROW - 1:  # a wide letter may not fit
        assert "MEM" not in lines[0]
        assert "PID" not in lines[0]
    if "PID" not in lines[0]:
        assert "MEM" not in lines[0]


def test_long_texts_are_cut_before_other_columns_are_dropped_for_them() -> None:
    columns = (Column("ID"), Column("FOR", drop=2), Column("AT", drop=3), Column("WHAT", flex=True, drop=1))
    line = [[Cell("1"), Cell("role:reviewer"), Cell("2024-01-01"), Cell("word " * 30)]]
    (titles, _) = table(columns, line, 80, colour=False)
    assert titles.split() == ["ID", "FOR", "AT", "WHAT"]
    (titles, cut_line) = table(columns, line, 48, colour=False)  # AT would leave too little of WHAT
    assert titles.split() == ["ID", "FOR", "WHAT"]
    assert width(cut_line) == 48


def test_of_two_long_texts_each_gives_way() -> None:
    columns = (Column("NAME", flex=True), Column("STATE", drop=1), Column("WHY", flex=True))
    name, why = "n" * 60, "w" * 30
    lines = table(columns, [[Cell(name), Cell("failed"), Cell(why)]], 80, colour=False)
    assert [len(word) for word in lines[1].split()] == [80 - 2 - 6 - 2 - 30, 6, 30]
    lines = table(columns, [[Cell(name), Cell("failed"), Cell(why)]], 58, colour=False)
    assert [len(word) for word in lines[1].split()] == [NARROW, 6, 58 - NARROW - 2 - 6 - 2]
    lines = table(columns, [[Cell(name), Cell("failed"), Cell(why)]], 40, colour=False)
    assert lines[0].split() == ["NAME", "WHY"]
    assert width(lines[1]) == 40


def test_wide_letters_take_two_cells() -> None:
    assert width("日本") == 4
    lines = table(COLUMNS, [[Cell("日本"), Cell("done"), Cell(1), Cell("-")]], 80, colour=False)
    assert lines[1].index("done") == lines[0].index("STATE") - 2


def test_colour_is_only_around_the_text() -> None:
    (_, line) = table((Column("A"), Column("B")), [[Cell("x", "red"), Cell("y")]], 80, colour=True)
    assert line == "\x1b[31mx\x1b[0m  y"
