"""What of a raw line is shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.store.clean import clean, iso_time, plain

RED, OFF = "\x1b[31m", "\x1b[0m"

SHOWN = [
    # raw, plain, with colours (None: the same)
    (b"", "", None),
    (b"just text", "just text", None),
    (b"carriage return\r", "carriage return", None),
    ("grüße, 你好 🙂".encode(), "grüße, 你好 🙂", None),
    (b"tab\there", "tab\there", None),
    (b"nul\x00 bell\x07", "nul bell", None),
    (b"broken \xff\xfe utf-8 \xc3", "broken \ufffd\ufffd utf-8 \ufffd", None),
    (b"\x1b[1;31merror\x1b[0m: x\r", "error: x", f"\x1b[1;31merror{OFF}: x"),
    (b"\x1b[38;2;1;2;3mrgb\x1b[m", "rgb", "\x1b[38;2;1;2;3mrgb\x1b[m"),
    (b"10%\r 55%\r100%\r\r", "100%", None),
    (b"abcdef\rXY", "XYcdef", None),
    (b"progress...\r\x1b[Kdone", "done", None),
    (b"progress...\r\x1b[2Kdone", "done", None),
    (b"\x1b[2K\x1b[1Gspinner |", "spinner |", None),
    (b"a\x1b[5Cb", "a     b", None),
    (b"typo\x08\x08me", "tyme", None),
    (b"12345\x1b[3D\x1b[2P", "125", None),
    (b"12345\x1b[3D\x1b[2@", "12  345", None),
    (b"12345\x1b[3D\x1b[2X", "12  5", None),
    (b"12345\x1b[3D\x1b[1K", "   45", None),
    (b"\tx\ry", "y       x", None),
    (b"\x1b[31mred\rX", "Xed", f"{RED}Xed{OFF}"),
    (b"ab\x1b[31mcd\rX", "Xbcd", f"{RED}X{OFF}b{RED}cd{OFF}"),
    (b"\x1b]0;window title\x07text", "text", None),
    (b"\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\.", "link.", None),
    (b"\x1b]0;never ended", "", None),
    (b"\x1bP1$r\x1b\\\x1b^pm\x1b\\\x1b_apc\x1b\\x", "x", None),
    (b"\x1b[2J\x1b[H\x1b[?25lcursor\x1b[?25h", "cursor", None),
    (b"\x1b(B\x1b=\x1b>\x1b7\x1b8charset", "charset", None),
    (b"before\x1b[?1049h\x1b[2Jvim \r drawing\x1b[?1049lafter", "beforeafter", None),
    (b"before\x1b[?1049hvim goes on", "before", None),
    (b"cut off \x1b[3", "cut off ", None),
    (b"cut off \x1b", "cut off ", None),
    ("c1 \x9b31mcsi".encode(), "c1 csi", None),
    (b"\x1b[99999999C.", " " * 4096 + ".", None),
]


@pytest.mark.parametrize(("raw", "text", "coloured"), SHOWN)
def test_what_is_shown(raw: bytes, text: str, coloured: str | None) -> None:
    assert plain(raw) == text
    assert clean(raw) == (text if coloured is None else coloured)


CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
SGR = re.compile(r"\x1b\[[0-9;:]*m")
WILD = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [b"\x1b[", b"\x1b]", b"\x1b[31m", b"\r", b"\x08", b"\x1b[K", b"\x1b[3P", b"\x1b\\", b"\x9b"]
        ),
        st.sampled_from(
            [b"text", b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[5C", b"\x1b[2@", b"\t", b"\xc2\x9b"]
        ),
    ),
    max_size=20,
).map(b"".join)


@given(WILD)
def test_nothing_reaches_the_terminal_but_text_and_colours(raw: bytes) -> None:
    assert not CONTROL.search(plain(raw))
    coloured = clean(raw)
    assert not CONTROL.search(SGR.sub("", coloured))
    assert SGR.sub("", coloured) == plain(raw)


def test_a_line_that_never_resets_its_colours_stays_small() -> None:
    raw = b"".join(b"\x1b[38;5;%dmx\r\x1b[C" % (number % 256) for number in range(2000))
    assert len(clean(raw)) < 2000
    wide = b"".join(b"\x1b[38;5;%dmx" % (number % 256) for number in range(2000)) + b"\ry"
    assert len(clean(wide)) < 2000 * 300


def test_times_are_utc() -> None:
    assert iso_time(0.25) == "1970-01-01T00:00:00.250Z"
