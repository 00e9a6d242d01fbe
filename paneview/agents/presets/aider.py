"""aider, with the prompt in a file; its usage is in the analytics log that it is told to write.

It exits with 0 even when the API failed, so a run without a message to a model has no result. It commits on its own;
``--no-auto-commits`` among the runner's ``args`` leaves that to the workflow.
"""

from __future__ import annotations

from paneview.agents.failures import classify
from paneview.agents.model import RunRequest, RunStatus, Tokens
from paneview.agents.parsing import (
    Event,
    Parser,
    Shown,
    count_of,
    dict_of,
    json_object,
    last_line,
    last_words,
    number_of,
    priced,
    text_of,
)
from paneview.config.workflows.roles import Runner

ENV: dict[str, str] = {}
RESUMES = False
LOG = "aider.jsonl"
KEPT = 200  # lines of output that count as its last message


def argv(runner: Runner, request: RunRequest) -> list[str]:
    """The program and its arguments. It reads its message from standard input, given as a file."""
    words = [
        *(runner.argv or ("aider",)),
        "--message-file=/dev/stdin",
        "--yes-always",
        "--no-pretty",
        "--no-stream",
    ]
    words += ["--no-check-update", f"--analytics-log={request.folder / LOG}"]
    if request.permissions == "read":
        words += ["--chat-mode=ask", "--no-auto-commits"]
    if runner.model:
        words.append(f"--model={runner.model}")
    return [*words, *runner.args]


class Reader(Parser):
    """Reads aider's plain output and its log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._sent = 0

    def feed(self, line: str) -> list[Shown]:
        """Read a line."""
        self._lines = [*self._lines[-KEPT:], line]
        return [Shown("text", line)] if line.strip() else []

    def log(self, text: str) -> None:
        """Read the usage of the messages it sent."""
        sent = _sent(text)
        self._sent = len(sent)
        if sent:
            self.turns = len(sent)
            self.tokens = Tokens(
                sum(count_of(one, "prompt_tokens") or 0 for one in sent),
                sum(count_of(one, "completion_tokens") or 0 for one in sent),
            )
            self.cost = priced(sum(number_of(one, "cost") or 0.0 for one in sent), self.tokens)

    def judge(self, code: int | None, errors: str) -> tuple[RunStatus, str]:
        """There is no last event: success is exit code 0 after at least one message."""
        self.text = "\n".join(self._lines).strip()
        if code == 0 and self._sent:
            return RunStatus.OK, ""
        if code == 0:
            status = classify(last_words(self.text))
            words = last_line(self.text) or "it sent no message to a model"
            return (RunStatus.NO_RESULT if status is RunStatus.FAILED else status), words
        return super().judge(code, errors or self.text)


def _sent(log: str) -> list[Event]:
    """The logged messages to a model."""
    events = filter(None, map(json_object, log.splitlines()))
    return [dict_of(event, "properties") for event in events if text_of(event, "event") == "message_send"]
