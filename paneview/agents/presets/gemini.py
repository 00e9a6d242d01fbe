"""Google's Gemini CLI: ``gemini -o stream-json``.

Its last event has no text, so the assistant's message is joined from the pieces since the last tool call. On a signal
it exits with 0, without that event.
"""

from __future__ import annotations

from typing import Any

from paneview.agents.failures import classify
from paneview.agents.model import RunRequest, RunStatus, Tokens
from paneview.agents.parsing import (
    Event,
    Parser,
    Shown,
    call_text,
    count_of,
    dict_of,
    last_line,
    last_words,
    text_of,
)
from paneview.config.workflows.roles import Runner

ENV = {"GEMINI_CLI_TRUST_WORKSPACE": "true"}
RESUMES = True
LOG = ""
_MODES = {"read": "plan", "edit": "auto_edit", "full": "yolo"}
_CODES = {
    41: (RunStatus.AUTH, "it is not logged in"),
    42: (RunStatus.FAILED, "it did not understand its input"),
    53: (RunStatus.LIMIT, "it took as many turns as allowed"),
    55: (RunStatus.FAILED, "it does not trust this folder"),
}


def argv(runner: Runner, request: RunRequest) -> list[str]:
    """The program and its arguments."""
    words = [*(runner.argv or ("gemini",)), "--output-format=stream-json"]
    words.append(f"--approval-mode={_MODES[request.permissions]}")
    if runner.model:
        words.append(f"--model={runner.model}")
    if request.resume:
        words.append(f"--resume={request.resume}")
    return [*words, *runner.args]


class Reader(Parser):
    """Reads ``stream-json``."""

    def __init__(self) -> None:
        super().__init__()
        self._said = ""
        self._line = ""

    def take(self, event: Event) -> list[Shown]:
        """Read an event."""
        match text_of(event, "type"):
            case "init":
                self.session = text_of(event, "session_id")
            case "message":
                return self._message(event)
            case "tool_use":
                name = text_of(event, "tool_name") or "tool"
                return [*self._flush(), Shown("tool", call_text(name, event.get("parameters")))]
            case "tool_result" if text_of(event, "status") == "error":
                return [Shown("result", _message_of(event.get("error")) or text_of(event, "output"))]
            case "error":
                return [Shown("warning", text_of(event, "message"))]
            case "result":
                return [*self._flush(), *self._result(event)]
        return []

    def _message(self, event: Event) -> list[Shown]:
        if text_of(event, "role") != "assistant":
            return []
        if event.get("delta") is not True:
            self._said = ""
        self._said += text_of(event, "content")
        self.text = self._said
        *whole, self._line = (self._line + text_of(event, "content")).split("\n")
        return [Shown("text", line) for line in whole if line.strip()]

    def _flush(self) -> list[Shown]:
        line, self._line, self._said = self._line, "", ""
        return [Shown("text", line)] if line.strip() else []

    def _result(self, event: Event) -> list[Shown]:
        self.concluded = True
        stats = dict_of(event, "stats")
        given, cached = count_of(stats, "input_tokens"), count_of(stats, "cached")
        fresh = None if given is None else max(0, given - (cached or 0))
        self.tokens = Tokens(fresh, count_of(stats, "output_tokens"), cached)
        if text_of(event, "status") == "success":
            self.status = RunStatus.OK
        else:
            self.fail(_message_of(event.get("error")))
        return []

    def judge(self, code: int | None, errors: str) -> tuple[RunStatus, str]:
        """As in the base class, but some exit codes say what went wrong."""
        if code in _CODES:
            status, words = _CODES[code]
            return status, f"{words}: {last_line(errors)}" if errors.strip() else words
        return super().judge(code, errors)

    def end(self, code: int | None, errors: str) -> Any:
        """As in the base class; for an unspecific error, standard error or the exit code may say more."""
        if self.status is RunStatus.FAILED:
            self.status = classify(last_words(errors)) if code != 0 else self.status
            self.status = _CODES[code][0] if code in _CODES else self.status
        return super().end(code, errors)


def _message_of(error: Any) -> str:
    return text_of(error, "message") if isinstance(error, dict) else error if isinstance(error, str) else ""
