"""Text from outside: the command line and a worker's pane escape it in the same way."""

from __future__ import annotations

import pytest

from paneview.cli import output
from paneview.text import escaped, last_of
from paneview.worker import console


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("größe 日本", "größe 日本"),
        ("a\x1b[31mb\x9b", "a\\x1b[31mb\\x9b"),
        ("left\u202eright\udc80", "left\\u202eright\\udc80"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_as_an_escape(text: str, safe: str) -> None:
    assert {escaped(text), output.clean(text), console.clean(text)} == {safe}


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("12345678", "12345678"),
        ("a\n2345678", "2345678"),  # just where it is cut
        ("ab\ncd\nef\n", "cd\nef\n"),
        ("123456789abc", "9abc"),  # no line begins near
        ("123456\nabcd", "abcd"),
    ],
)
def test_the_end_of_a_text_begins_with_a_line_or_is_shorter(text: str, end: str) -> None:
    assert last_of(text, 8) == end
    assert last_of(text.encode(), 8) == end.encode()


def test_a_worker_shows_the_lines_of_a_payload_as_one_and_cuts_it() -> None:
    assert console.clean("a\nb\x1b") == "a ⏎ b\\x1b"
    assert console.clean("abcdef", 4) == "abc…"
