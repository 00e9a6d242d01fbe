"""Any other program: the prompt on standard input, the answer on standard output.

It has no events, so its exit code decides, but a program without output has no result.
"""

from __future__ import annotations

from paneview.agents.model import RunRequest, RunStatus
from paneview.agents.parsing import MOST_TEXT, Parser, Shown
from paneview.config.workflows.roles import Runner
from paneview.text import last_of

ENV: dict[str, str] = {}
RESUMES = False
LOG = ""


def argv(runner: Runner, _request: RunRequest) -> list[str]:
    """The words from the runner's configuration."""
    return [*runner.argv, *runner.args]


class Reader(Parser):
    """Keeps the end of what it prints."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._size = 0

    def feed(self, line: str) -> list[Shown]:
        """Read a line."""
        self._lines.append(line)
        self._size += len(line) + 1
        if self._size > 2 * MOST_TEXT:
            text = last_of("\n".join(self._lines), MOST_TEXT)
            self._lines, self._size = text.split("\n"), len(text)
        return [Shown("text", line)] if line.strip() else []

    def judge(self, code: int | None, errors: str) -> tuple[RunStatus, str]:
        """Success is exit code 0 with some output."""
        self.text = "\n".join(self._lines).strip()
        if code == 0 and self.text:
            return RunStatus.OK, ""
        return super().judge(code, errors)

    def why(self, _errors: str) -> RunStatus:
        """Always FAILED: its messages are not those of a provider."""
        return RunStatus.FAILED
