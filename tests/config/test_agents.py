"""The block for AI agents: idempotent, and everything around it byte for byte."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paneview.cli.verbs import PARSER
from paneview.config.editing.agents import BEGIN, END, block, with_block
from tests.texts import texts

PIECES = st.sampled_from([BEGIN, END, "\n", "\r\n", "text", "# Title", " ", "\xe9"]) | texts(max_size=5)
CONTENT = st.lists(PIECES, max_size=8).map(lambda parts: "".join(parts).replace("\0", "").encode())


@given(CONTENT)
@example(b"")
@example(b"no newline")
@example(b"\r")
@example(f"{BEGIN}\nold\n{END}".encode())
def test_writing_twice_is_writing_once(content: bytes) -> None:
    once = with_block(content, "paneview.toml")
    assert with_block(once, "paneview.toml") == once
    assert BEGIN.encode() in once


@given(CONTENT)
def test_what_is_not_ours_stays_byte_for_byte(content: bytes) -> None:
    ours = re.compile(
        re.escape(BEGIN.encode()) + rb"(?:(?!<!-- paneview:begin).)*?" + re.escape(END.encode()), re.S
    )
    before, after = ours.split(content), ours.split(with_block(content, "paneview.toml"))
    if len(before) == 1:
        assert after[0].startswith(content)
        assert after[0][len(content) :].strip() == after[1].strip() == b""
    else:
        assert after == before


def test_line_ends_follow_the_file() -> None:
    after = with_block(b"# Title\r\n", "paneview.toml")
    assert after.count(b"\n") == after.count(b"\r\n")


def test_what_is_no_text_is_left_alone() -> None:
    with pytest.raises(ValueError, match="not UTF-8 text"):
        with_block("text".encode("utf-16"), "paneview.toml")


def test_the_block_is_short_and_names_commands_that_exist() -> None:
    text = block("paneview.toml")
    assert len(text) < 1000
    commands = set(re.findall(r"`paneview ([a-z]+)", text))
    assert len(commands) >= 5
    assert commands <= set(PARSER.verbs)
