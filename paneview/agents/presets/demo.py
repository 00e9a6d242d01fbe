"""paneview's own demo agent (`paneview.agents.demo`), which speaks claude's stream."""

from __future__ import annotations

import sys

from paneview.agents.model import RunRequest
from paneview.agents.presets import claude
from paneview.config.workflows.roles import Runner

ENV = claude.ENV
RESUMES = claude.RESUMES
LOG = claude.LOG
Reader = claude.Reader


def argv(runner: Runner, request: RunRequest) -> list[str]:
    """The program and its arguments: claude's."""
    program = runner.argv or (sys.executable, "-P", "-m", "paneview.agents.demo")
    return claude.argv(runner._replace(argv=program), request)
