from __future__ import annotations

import time
from pathlib import Path

import pytest

from paneview.config.load import parse_project
from paneview.health import HttpProbe, LogMatcher, ProbeSpec, ShellProbe, TcpProbe, logmatch
from paneview.patterns import TOO_SLOW, PatternError


@pytest.mark.parametrize(
    ("fields", "spec"),
    [
        ("", None),
        ('health_log = "x"', None),
        ('health_check = "true"\nhealth_timeout = 2', ShellProbe(2.0, "true")),
        ("health_tcp = 80", TcpProbe(5.0, "localhost", 80)),
        ('health_tcp = "[::1]:80"', TcpProbe(5.0, "::1", 80)),
        ('health_url = "http://x/"', HttpProbe(5.0, "http://x/")),
        (
            'health_url = "http://x/"\nhealth_status = ["200-204", 404]\nhealth_body = "y"',
            HttpProbe(5.0, "http://x/", ((200, 204), (404, 404)), "y"),
        ),
    ],
)
def test_spec_of_a_task(fields: str, spec: ProbeSpec | None) -> None:
    text = f'[tasks.web]\ncommand = "x"\n{fields}\n'
    project = parse_project(text.encode(), Path("/paneview.toml"), {})
    assert ProbeSpec.of(project.tasks["web"]) == spec


class TestLogMatcher:
    def test_first_line_that_matches(self) -> None:
        matcher = LogMatcher(r"listening on :\d+$")
        assert not matcher.feed([b"starting", b"listening on :"])
        assert not matcher.feed([])
        assert matcher.feed([b"listening on :80\r\n", b"listening on :81"])
        assert matcher.matched == "listening on :80"
        assert matcher.feed([])

    def test_colours_and_titles_are_not_in_the_way(self) -> None:
        line = b"\x1b]0;title\x07\x1b[1;32mready\x1b[0m \x1b[38;5;1min\x1b(B 5 ms\x1b[K"
        assert LogMatcher("^ready in 5 ms$").feed([line])

    def test_broken_utf8_and_text(self) -> None:
        assert LogMatcher("ready").feed([b"\xff\xfe ready"])
        assert LogMatcher("größe").feed(["größe"])

    def test_a_line_of_a_megabyte(self) -> None:
        assert not LogMatcher("y").feed([b"x" * 2**20 + b"y"])

    def test_a_wrong_pattern_is_refused(self) -> None:
        with pytest.raises(PatternError):
            LogMatcher("(")

    def test_a_line_that_takes_too_long_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logmatch, "LIMIT", 0.02)
        matcher = LogMatcher("^(a|a)+$")
        assert not matcher.feed(["a" * 44 + "!"])
        assert matcher.trouble == TOO_SLOW
        assert matcher.feed(["a" * 44 + "!", "aaaa"])
        assert matcher.matched == "aaaa"

    def test_not_many_lines_may_take_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert logmatch.LIMIT * logmatch.TRIES < 2
        monkeypatch.setattr(logmatch, "LIMIT", 0.02)
        began = time.thread_time()
        assert not LogMatcher("^(a|a)+$").feed(["a" * 44 + "!"] * 5000)
        assert time.thread_time() - began < 0.02 * logmatch.TRIES * 4
