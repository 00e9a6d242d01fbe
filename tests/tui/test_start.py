"""The first frame waits for nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from textual.color import Color
from textual.css import stylesheet
from textual.css.stylesheet import StylesheetError
from textual.css.tokenizer import TokenError

from paneview.tui import theme
from paneview.tui.stylesheet import ParsedOnce
from tests.tui.conftest import _parse

NOT_NEEDED = (
    "paneview.tui.commands",
    "paneview.tui.logs.copying",
    "paneview.tui.screens.dialogs",
    "paneview.tui.screens.events",
    "paneview.tui.screens.help",
    "paneview.tui.screens.logs",
    "paneview.tui.widgets.prompt",
    "paneview.supervisor",
    "paneview.store",
    "paneview.config.models",
    "aiosqlite",
    "libtmux",
    "psutil",
    "msgspec",
    "sqlite3",
)


def test_what_the_first_frame_does_not_need_is_not_loaded() -> None:
    code = "import sys, paneview.tui.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(NOT_NEEDED) & set(done.stdout.split())


def test_the_words_for_states_load_no_screen() -> None:
    """The command line prints with them."""
    code = "import sys, paneview.tui.words; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"textual", "rich", "asyncio"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "paneview-dark"),
        ({"COLORFGBG": "0;15"}, "paneview-light"),
        ({"COLORFGBG": "15;0"}, "paneview-dark"),
        ({"NO_COLOR": ""}, "paneview-ansi"),
        ({"TERM": "xterm"}, "paneview-ansi"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "paneview-dark"),
        ({"TERM": "xterm-256color"}, "paneview-dark"),
        ({"PANEVIEW_THEME": "light", "NO_COLOR": "1"}, "paneview-light"),
        ({"PANEVIEW_THEME": "textual-dark"}, "textual-dark"),
    ],
)
def test_the_theme_for_a_terminal(environ: dict[str, str], name: str) -> None:
    assert theme.choose(environ) == name


def test_style_sheets_are_parsed_again_only_if_it_changes_something(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def parse(scope: str, css: str, *asked: Any, **more: Any) -> Any:
        parsed.append(css)
        return real(scope, css, *asked, **more)

    real = stylesheet.parse
    monkeypatch.setattr(stylesheet, "parse", parse)
    monkeypatch.setattr(stylesheet.Stylesheet, "_parse_rules", _parse)  # which remembers nothing
    sheet, first, second, broken = ParsedOnce(variables={"ink": "red"}), "A { color: $ink; }", "B {}", "C {"

    sheet.add_source(first)
    assert sheet.rules[0].styles.color == Color.parse("red")
    sheet.set_variables({"ink": "red"})
    sheet.add_source(second)
    sheet.reparse()
    assert len(sheet.rules) == 2
    assert parsed == [first, second]

    sheet.set_variables({"ink": "blue"})
    sheet.reparse()
    assert sheet.rules[0].styles.color == Color.parse("blue")
    assert parsed == [first, second, first, second]

    sheet.add_source(broken)
    with pytest.raises((StylesheetError, TokenError)):
        sheet.reparse()
    assert len(sheet._rules) == 2
