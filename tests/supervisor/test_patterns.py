"""Patterns whose search would never end: they cost the supervisor nothing but the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from paneview.control.errors import ControlError
from paneview.patterns import TOO_SLOW
from tests.harness import wait_until
from tests.supervisor.project import Project

Make = Callable[[str], Project]

LINE = "a" * 44 + "!"
NO_PATTERNS = ("(", "a{99999999999999999999}", "(" * 1500 + "a" + ")" * 1500)
SEARCHED = f"""
[tasks.bbb]
command = "echo {LINE}; seq 500; exec sleep 3600"

[tasks.other]
command = "echo {LINE}; exec sleep 3600"
"""
FREEZING = f"""
[tasks.ready]
command = "echo {LINE}; until [ -e go ]; do sleep 0.1; done; echo aaaa; exec sleep 3600"
health_log = "^(a|a)+$"
health_interval = 0.1

[tasks.asking]
command = "printf '{LINE}'; exec sleep 3600"
input_patterns = ["(a|a)+$", "a!$"]
"""


def test_a_search_without_an_end_stops_nothing_else(project: Make) -> None:
    p = project(SEARCHED).serve()
    p.wait("bbb", lambda t: t["log_end"] >= 501)
    p.wait("other", lambda t: t["log_end"] >= 1)

    def find(pattern: str, task: str) -> list[int]:
        asked = {"start": None, "direction": "back", "limit": 10, "regex": True, "ignore_case": True}
        found: list[int] = p.call("log_find", task=task, pattern=pattern, **asked)["hits"]
        return found

    for task in ("bbb", "bbb+other"):
        with ThreadPoolExecutor(4) as pool:
            freezing = [pool.submit(find, pattern, task) for pattern in ("(a|a)+$", "(a|aa)+$", "(a|a|a)+$")]
            slowest = 0.0
            while not all(one.done() for one in freezing):
                began = time.monotonic()
                p.call("status")
                slowest = max(slowest, time.monotonic() - began)
                wait(freezing, timeout=0.05)
        for one in freezing:
            with pytest.raises(ControlError, match=TOO_SLOW):
                one.result()
        assert slowest < 3  # it was for ever
        assert find("(a+)+$", task) == []
        assert find("([a-z]+ ?)+$", task) == []
        assert len(find("(a+)+!$", task)) == task.count("+") + 1
        for wrong in NO_PATTERNS:
            with pytest.raises(ControlError, match="is not a regular expression") as caught:
                find(wrong, task)
            assert caught.value.code == "bad_request"


def test_patterns_of_the_configuration_are_given_up_too(project: Make) -> None:
    p = project(FREEZING).serve()
    p.wait("asking", lambda t: t["needs_input"] == LINE)
    wait_until(lambda: TOO_SLOW in str(p.call("health")))
    warning = f"WARNING input pattern '(a|a)+$': {TOO_SLOW}"
    wait_until(lambda: warning in p.supervisor_log())  # the log is written by another thread
    assert p.supervisor_log().count(warning) == 1
    (p.folder / "go").touch()
    p.wait("ready", lambda t: t["health"] == "healthy")


def test_a_reload_tells_of_a_pattern_that_cannot_be(project: Make) -> None:
    p = project("[tasks.t]\ncommand = 'exec sleep 3600'\n").serve()
    for pattern in NO_PATTERNS:
        p.write(f"[tasks.t]\ncommand = 'exec sleep 3600'\nhealth_log = '{pattern}'\n")
        with pytest.raises(ControlError, match=r"4:14: task 't': health_log: .* is not a regular expression"):
            p.call("reload")
