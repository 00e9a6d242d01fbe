"""Workflows key by key: the real program in a tmux pane, a real supervisor, and the demo agent in workers' panes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import run
from tests.harness import Sandbox, wait_until
from tests.repository import repository
from tests.tui.pane import Pane

pytestmark = pytest.mark.timeout(120)

FILE = """\
name = "demo"

[runners.demo]

[workers.agents]
role = ["planner", "worker"]
concurrency = 2

[workflows.careful]
isolation = "worktree"

[[workflows.careful.phases]]
name = "plan"
role = "planner"
prompt = "{{task}}"

[[workflows.careful.phases]]
name = "work"
role = "worker"
prompt = "{{task}}"
approve = "always"
"""
TASK = (
    "Greet everybody",
    "demo@plan: say thinking it over",
    "demo@plan: sleep 1",
    "demo@plan: cost none",
    "demo@work: say here I go",
    "demo@work: write hello.txt hello world",
    "demo@work: cost 0.25",
)


@pytest.fixture
def project(folder: Path) -> Path:
    """A git repository with agents."""
    (folder / "paneview.toml").write_text(FILE)
    repository(folder)
    return folder


def test_asked_watched_approved_and_read(sandbox: Sandbox, project: Path) -> None:
    pane = Pane(sandbox, project)
    pane.wait_for("▌ agents", "● running")
    # In one go: not one letter may reach what lies below, where x stops a task.
    pane.type("a", "x")
    pane.wait_for("Ask agents", "   x  ")
    pane.type("BSpace")
    for at, line in enumerate(TASK):
        if at:
            pane.type("C-j")
        pane.type("-l", line)
    pane.type("Tab")
    pane.wait_for("tab default  careful")
    pane.type("careful")
    pane.wait_for("demo@work: cost 0.25", "enter begins careful, plan → work ◆ · in a worktree of its own")
    pane.type("Enter")
    pane.wait_for("has begun: 4 shows it")
    pane.type("4")
    pane.wait_for("workflows", "Greet everybody")
    pane.type("Enter")
    pane.wait_for("PHASE ", "plan  ")
    pane.type("g", "Enter")
    pane.wait_for("transcript plan", "thinking it over")
    pane.type("1")
    pane.wait_for("fleet", "◆ 1 needs input", "needs you on 4: work")
    pane.type("n")
    pane.wait_for("workflows", "◆ needs you", "unpriced")
    pane.type("Enter")
    pane.wait_for("work         ◆ approve?", "A lets it begin, X rejects it and asks why")
    pane.type("A")
    pane.wait_for("✓ done", "$0.25")
    pane.type("j", "Enter")
    pane.wait_for("transcript work", "here I go")
    pane.type("D")
    pane.wait_for("1 line in 1 file", "+++ b/hello.txt", "+hello world")
    pane.type("Escape", "Escape")
    pane.wait_for("workflows", "✓ done  ", "$0.25+?")
    assert run("workflows", "--json", cwd=project).json["workflows"][0]["status"] == "done"
    pane.type("q")
    pane.wait_for("Leave demo?")
    pane.type("l")
    pane.wait_for("left with 0")
    again = Pane(sandbox, project, session="again")
    again.wait_for("▌ agents")
    again.type("a")
    again.wait_for("Ask agents")
    wait_until(lambda: _recalled(again))


def _recalled(pane: Pane) -> bool:
    pane.type("Up")
    return "demo@work: cost 0.25" in pane.text()
