"""Colours of a task's own output: kept; anything else that a terminal acts on: dropped."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from paneview.tui.logs import sgr
from tests.texts import texts

BASE = Style(color="#ffffff", bgcolor="#000000")


def shown(text: str) -> list[tuple[str, str | None, bool]]:
    plain, marks = sgr.parse(text)
    return [
        (plain[start:end], style.color.name if style.color else None, bool(style.bold))
        for start, end, style in sgr.spans(plain, marks, BASE)
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("plain", [("plain", "#ffffff", False)]),
        ("\x1b[1;32mINFO\x1b[0m ok", [("INFO", "color(2)", True), (" ok", "#ffffff", False)]),
        ("\x1b[38;5;208mx\x1b[39my", [("x", "color(208)", False), ("y", "#ffffff", False)]),
        ("\x1b[38;2;1;2;3mx", [("x", "#010203", False)]),
        ("\x1b[38:2:1:2:3mx", [("x", "#010203", False)]),
        ("\x1b[38:2::1:2:3mx", [("x", "#010203", False)]),
        ("\x1b[91mx\x1b[22my", [("xy", "color(9)", False)]),
        ("\x1b[mx", [("x", "#ffffff", False)]),
        ("a\x1b[31m\x1b[32mb", [("a", "#ffffff", False), ("b", "color(2)", False)]),
        ("\x1b[38;9mx", [("x", "#ffffff", False)]),
        pytest.param(f"\x1b[91m\x1b[{'1' * 5000}mx", [("x", "color(9)", False)], id="digits"),
    ],
)
def test_colours(text: str, parts: list[tuple[str, str, bool]]) -> None:
    assert shown(text) == parts


@pytest.mark.parametrize(
    "text",
    ["a\x1b[2Kb", "a\x1b]0;title\x07b", "a\x1bPq\x1b\\b", "a\x07\x08\x00b", "a\x9b31mb"[:2] + "b", "a\x1bcb"],
)
def test_other_sequences_are_dropped(text: str) -> None:
    assert sgr.plain(text) == "ab"


def test_tabs_count_what_shows() -> None:
    assert sgr.plain("ab\tc") == "ab      c"
    assert sgr.plain("\x1b[31mab\x1b[0m\tc") == "ab      c"


def test_background_and_reverse_are_kept() -> None:
    plain, marks = sgr.parse("\x1b[44;7;4;9;2;3mx")
    (_, _, style) = next(sgr.spans(plain, marks, BASE))
    assert style.bgcolor is not None
    assert style.bgcolor.name == "color(4)"
    assert style.reverse
    assert style.underline
    assert style.strike


pieces = st.sampled_from(
    ["\x1b[", "31m", "38;5;", "m", "\x1b]0;", "\x07", "\r", "\t", "x", "日", "\x1b", "\x9b", ";", "0"]
)


@given(st.lists(pieces | texts(max_size=3), max_size=30).map("".join))
def test_nothing_that_a_terminal_acts_on_comes_out(text: str) -> None:
    plain, marks = sgr.parse(text)
    assert not [char for char in plain if unicodedata.category(char) in {"Cc", "Cs"}]
    spans = list(sgr.spans(plain, marks, BASE))
    assert "".join(plain[start:end] for start, end, _ in spans) == plain
    assert sgr.plain(text) == plain
