"""opencode: ``opencode run --format json``.

There is no final event: tokens and cost are summed over its steps, and the run succeeded if its last step ended with
the reason ``stop`` and its process with exit code 0. It waits out a rate limit without an event, for ever if necessary:
only its log shows that, so the log is requested on standard error.
"""

from __future__ import annotations

from paneview.agents.failures import classify
from paneview.agents.model import RunOutcome, RunRequest, RunStatus, Tokens
from paneview.agents.parsing import (
    Event,
    Parser,
    Shown,
    call_text,
    count_of,
    dict_of,
    how,
    last_line,
    last_words,
    number_of,
    priced,
    text_of,
)
from paneview.config.workflows.roles import Runner

ENV: dict[str, str] = {}
RESUMES = True
LOG = ""


def argv(runner: Runner, request: RunRequest) -> list[str]:
    """The program and its arguments. The agent ``plan`` may not edit; ``--auto`` answers all questions with yes."""
    words = [*(runner.argv or ("opencode",)), "run", "--format=json", f"--dir={request.cwd}"]
    words += ["--print-logs", "--log-level=ERROR"]
    if request.permissions == "read":
        words.append("--agent=plan")
    elif request.permissions == "full":
        words.append("--auto")
    if runner.model:
        words.append(f"--model={runner.model}")
    if request.resume:
        words.append(f"--session={request.resume}")
    return [*words, *runner.args]


class Reader(Parser):
    """Reads opencode's events."""

    def __init__(self) -> None:
        super().__init__()
        self._reason = ""
        self._input = self._output = self._cached = 0
        self._cost = 0.0
        self._steps = 0

    def take(self, event: Event) -> list[Shown]:
        """Read an event."""
        self.session = text_of(event, "sessionID") or self.session
        part = dict_of(event, "part")
        match text_of(event, "type"):
            case "text":
                return self.say(text_of(part, "text"))
            case "tool_use":
                return self._tool(part)
            case "step_start":
                self._reason = ""
            case "step_finish":
                self._step(part)
            case "error":
                return self._error(dict_of(event, "error"))
        return []

    def _tool(self, part: Event) -> list[Shown]:
        state = dict_of(part, "state")
        shown = [Shown("tool", call_text(text_of(part, "tool") or "tool", state.get("input")))]
        if text_of(state, "status") == "error":
            shown.append(Shown("result", text_of(state, "error")))
        return shown

    def _step(self, part: Event) -> None:
        self._steps += 1
        self._reason = text_of(part, "reason")
        tokens = dict_of(part, "tokens")
        self._input += (count_of(tokens, "input") or 0) + (count_of(dict_of(tokens, "cache"), "write") or 0)
        self._output += (count_of(tokens, "output") or 0) + (count_of(tokens, "reasoning") or 0)
        self._cached += count_of(dict_of(tokens, "cache"), "read") or 0
        self._cost += number_of(part, "cost") or 0.0
        self.turns = self._steps
        self.tokens = Tokens(self._input, self._output, self._cached)
        self.cost = priced(self._cost, self.tokens)

    def _error(self, error: Event) -> list[Shown]:
        data = dict_of(error, "data")
        message = text_of(data, "message") or text_of(error, "message") or text_of(error, "name")
        if data.get("isRetryable") is True and self._steps == 0:
            self.error = message
        self.fail(message, count_of(data, "statusCode"))
        self.concluded = False  # more events may follow
        return [Shown("warning", message)]

    def end(self, code: int | None, errors: str) -> RunOutcome:
        """Success only if the last step ended with ``stop``; earlier errors were recovered from then."""
        if code == 0 and self._reason == "stop":
            self.status, self.error = RunStatus.OK, ""
        elif code == 0 and self._reason == "length":
            self.status, self.error = RunStatus.LIMIT, "its answer was cut off at the model's limit"
        return super().end(code, errors)

    def judge(self, code: int | None, errors: str) -> tuple[RunStatus, str]:
        """As in the base class; if there were no events, its errors are on standard error."""
        status = classify(last_words(errors))
        if code == 0 and status is not RunStatus.FAILED:
            return status, last_line(errors) or how(code)
        return super().judge(code, errors)
