"""Tasks that wait for an answer: found, reported, answered, with real programs in real panes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from paneview.supervisor.tasks.questions import read_agent
from tests.harness import wait_until
from tests.supervisor.project import Project

Make = Callable[[str], Project]

ASKING = """
[tasks.ask]
command = "echo begun; printf 'Overwrite? [y/N] '; read x; echo got $x; exec sleep 1000"
restart_policy = "no"

[tasks.calm]
command = "printf 'working... '; exec sleep 1000"

[tasks.own]
command = "printf 'tell me more> '; exec sleep 1000"
input_patterns = ["more>$"]

[tasks.never]
command = "printf 'Password: '; exec sleep 1000"
input_patterns = []
"""


def needs(name: str, text: str | None) -> Callable[[dict[str, object]], bool]:
    return lambda task: task["name"] == name and task["needs_input"] == text


def test_a_question_is_found_told_and_cleared_when_it_is_answered(project: Make) -> None:
    p = project(ASKING).serve()
    asking = p.wait("ask", needs("ask", "Overwrite? [y/N]"))
    assert (asking["state"], asking["reason"]) == ("running", "waits for an answer: Overwrite? [y/N]")
    p.wait("own", needs("own", "tell me more>"))
    assert p.task("calm")["needs_input"] is None
    assert p.task("never")["needs_input"] is None
    (event,) = p.events("task_needs_input", "ask")
    assert event["cause"] == "Overwrite? [y/N]"
    p.call("send_keys", task="ask", keys=["y"], literal=True)
    p.call("send_keys", task="ask", keys=["Enter"])
    p.wait("ask", needs("ask", None))
    assert p.lines("ask")[-1] == "got y"
    assert len(p.events("task_input_given", "ask")) == 1

    # The file says otherwise now, and nothing is printed.
    p.write(
        ASKING.replace('["more>$"]', "[]").replace("[tasks.own]", 'input_patterns = ["ing"]\n[tasks.own]')
    )
    p.call("reload")
    p.wait("own", needs("own", None))
    p.wait("calm", needs("calm", "working..."))


def test_it_is_found_within_a_quarter_of_a_second(project: Make) -> None:
    """The benchmark measures the figure; this only shows that it does not take seconds of polling."""
    p = project("""
[tasks.ask]
command = "while read x; do printf 'Sure? '; done"
""").serve()
    p.wait("ask", "running")
    took = []
    for _ in range(3):
        p.call("send_keys", task="ask", keys=["Enter"])
        began = time.monotonic()
        p.wait("ask", lambda task: task["needs_input"])
        took.append(time.monotonic() - began)
    assert min(took) < 2.0


def test_it_is_on_the_screen_of_its_pane_found_again_by_the_next_supervisor_and_gone_with_the_run(
    project: Make,
) -> None:
    p = project(ASKING).serve()
    p.wait("ask", needs("ask", "Overwrite? [y/N]"))
    shown = p.call("screen", task="ask")
    assert shown["lines"][:2] == ["begun", "Overwrite? [y/N]"] or shown["lines"][1].startswith("Overwrite")
    assert (shown["column"], shown["row"]) == (17, 1)
    p.kill_supervisor()
    p.serve()
    p.wait("ask", needs("ask", "Overwrite? [y/N]"))
    p.call("stop", tasks=["ask"])
    assert p.task("ask")["needs_input"] is None


def test_what_claude_says_of_itself_goes_before_its_screen(project: Make, tmp_path: Path) -> None:
    folder = tmp_path / "claude" / "sessions"
    folder.mkdir(parents=True)
    script = tmp_path / "claude.sh"
    script.write_text(
        "#!/bin/sh\n"
        f"""echo '{{"status":"waiting","waitingFor":"permission to edit a file"}}' > {folder}/$$.json\n"""
        "echo asking\nread x\n"
        f"""echo '{{"status":"idle"}}' > {folder}/$$.json\n"""
        "printf 'Password: '\nexec sleep 1000\n"
    )
    script.chmod(0o755)
    link = tmp_path / "claude" / "claude"
    os.symlink(script, link)
    p = project(f"""
[tasks.agent]
command = "exec {link}"
env = {{ CLAUDE_CONFIG_DIR = "{tmp_path}/claude" }}
""").serve()
    p.wait("agent", needs("agent", "permission to edit a file"))
    p.call("send_keys", task="agent", keys=["Enter"])
    p.wait("agent", needs("agent", None))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", pytest.param("[" * 100_000, id="deep"), '{"status": 3}', '{"status": "new"}']
)
def test_a_status_file_that_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "7.json").write_text(text)
    assert read_agent(tmp_path, [6, 7]) is None


def test_a_status_file_of_a_busy_agent(tmp_path: Path) -> None:
    (tmp_path / "7.json").write_text(json.dumps({"status": "busy"}))
    found = read_agent(tmp_path, [7])
    assert found is not None
    assert (found.question, found.busy) == ("", True)


def test_pasted_lines_arrive_as_they_are(project: Make) -> None:
    p = project('[tasks.cat]\ncommand = "stty -echo; exec cat"\n').serve()
    p.wait("cat", "running")
    p.call("paste", task="cat", text="two\nlines; with $x\n")
    wait_until(lambda: p.lines("cat")[-2:] == ["two", "lines; with $x"])
