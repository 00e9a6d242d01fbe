"""Text from outside: made harmless, measured and cut in cells."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from paneview.text import escaped
from paneview.tui.text import cells, clean, cut, fit, fit_name, wrap

anything = st.text(st.characters(codec=None, exclude_categories=[]), max_size=40)


@given(anything)
def test_what_is_clean_holds_nothing_that_a_terminal_acts_on(text: str) -> None:
    result = clean(text)
    assert not [char for char in result if unicodedata.category(char) in {"Cc", "Cs"}]
    assert not set(result) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f\u061c")
    assert clean(result) == result


def test_what_a_terminal_acts_on_looks_as_on_the_command_line() -> None:
    for text in ("a\x1b[31mb\x9b", "left\u202eright\udc80", "bell\x07"):
        assert clean(text) == escaped(text)
    assert clean("two\r\nlines\tof it") == "two lines of it"


@given(anything.map(clean), st.integers(0, 30), st.booleans())
def test_fit_takes_exactly_its_cells(text: str, width: int, right: bool) -> None:
    assert cell_len(fit(text, width, right=right)) == width
    assert cell_len(fit_name(text, width)) == width
    assert cell_len(cut(text, width)) <= width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 4, "abc…"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日 …"),
        ("ab", 0, ""),
    ],
)
def test_fit(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown


@pytest.mark.parametrize(
    ("name", "width", "shown"),
    [
        ("worker.1", 9, "worker.1 "),
        ("long-name-of-a-task.12", 12, "long-na…k.12"),
        ("long-name-of-a-task.12", 2, "l…"),
        ("日本語日本語.1", 6, "日 ….1"),
        ("日本語日本語", 6, "日本 …"),
    ],
)
def test_of_a_long_name_the_end_is_shown_too(name: str, width: int, shown: str) -> None:
    assert fit_name(name, width) == shown


def test_fit_to_the_right() -> None:
    assert fit("7", 4, right=True) == "   7"


@given(anything.map(clean), st.integers(-3, 30))
@example("\u00a0" * 20 + "x", 8)  # spaces that never break
@example("\u00a0\u00a0日本", 3)
@example("日本", 1)
@example("No", -2)
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(cells(line) <= max(width, 2) for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
