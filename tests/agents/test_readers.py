"""Readers of agents' output, on streams as the real programs print them, and on anything else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paneview.agents.model import RunOutcome, RunStatus, Tokens
from paneview.agents.parsing import MOST_TEXT
from paneview.agents.presets import aider, claude, codex, gemini, opencode, plain
from tests.texts import texts

READERS = {
    one.__name__.rpartition(".")[2]: one.Reader for one in (claude, codex, gemini, opencode, aider, plain)
}
NOW = 1_800_000_000.0


def read(preset: Any, *events: Any, code: int | None = 0, errors: str = "") -> tuple[RunOutcome, list[str]]:
    reader = preset.Reader()
    shown = []
    for event in events:
        line = event if isinstance(event, str) else json.dumps(event)
        shown += [f"{one.kind}: {one.text}" for one in reader.feed(line)]
    return reader.end(code, errors), shown


def result(**more: Any) -> dict[str, Any]:
    usage = {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 90, "costUSD": 0.02}
    base = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "api_error_status": None,
        "num_turns": 2,
        "result": "All green.",
        "session_id": "s1",
        "total_cost_usd": 0.0228,
        "usage": {"input_tokens": 1},
        "modelUsage": {"big": usage, "small": usage},
        "permission_denials": [],
        "terminal_reason": "completed",
    }
    return {**base, **more}


INIT = {"type": "system", "subtype": "init", "session_id": "s1"}


class TestClaude:
    def test_success(self) -> None:
        outcome, shown = read(
            claude,
            INIT,
            "[warning] something between",
            {"type": "assistant", "message": {"content": [{"type": "text", "text": "Looking."}]}},
            {
                "type": "assistant",
                "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "ls"}}]},
            },
            {
                "type": "user",
                "message": {"content": [{"type": "tool_result", "is_error": True, "content": "no such"}]},
            },
            result(),
        )
        assert (outcome.status, outcome.text, outcome.session, outcome.turns) == (
            RunStatus.OK,
            "All green.",
            "s1",
            2,
        )
        assert (outcome.tokens, outcome.cost_usd) == (Tokens(20, 10, 180), 0.0228)
        assert shown == [
            "raw: [warning] something between",
            "text: Looking.",
            "tool: Bash ls",
            "result: no such",
        ]

    @pytest.mark.parametrize(
        ("more", "status", "words"),
        [
            (
                {"is_error": True, "result": "Not logged in · Please run /login"},
                RunStatus.AUTH,
                "Not logged in",
            ),
            (
                {"is_error": True, "result": "Invalid API key", "api_error_status": 401},
                RunStatus.AUTH,
                "Invalid",
            ),
            ({"is_error": True, "result": "Credit balance is too low"}, RunStatus.AUTH, "Credit"),
            (
                {"is_error": True, "result": "API Error: 400 bad", "api_error_status": 400},
                RunStatus.FAILED,
                "API",
            ),
            (
                {"is_error": True, "result": "slow down", "api_error_status": 429},
                RunStatus.RATE_LIMITED,
                "slow",
            ),
            (
                {"is_error": True, "result": "Overloaded", "api_error_status": 529},
                RunStatus.RATE_LIMITED,
                "Over",
            ),
            ({"subtype": "error_max_turns", "is_error": True, "result": None}, RunStatus.LIMIT, "turns"),
            ({"subtype": "error_max_budget_usd", "is_error": True}, RunStatus.BUDGET, "spent"),
            (
                {"subtype": "error_during_execution", "is_error": True, "result": "", "errors": ["boom"]},
                RunStatus.FAILED,
                "boom",
            ),
            (
                {"permission_denials": [{"tool_name": "Write", "tool_input": {"a": 1}}]},
                RunStatus.NEEDS_PERMISSION,
                "Write",
            ),
        ],
    )
    def test_other_ends(self, more: dict[str, Any], status: RunStatus, words: str) -> None:
        outcome, _ = read(claude, INIT, result(**more), code=1)
        assert outcome.status is status
        assert words in outcome.error

    def test_what_it_wanted_to_ask_a_person(self) -> None:
        options = [{"label": "eighty"}, {"label": "any"}, {}]
        asks = {"questions": [{"question": "Which port?", "options": options}, {"question": "Why?"}, 3]}
        denials = [{"tool_name": "AskUserQuestion", "tool_input": asks}]
        outcome, _ = read(claude, INIT, result(permission_denials=denials))
        assert (outcome.status, outcome.denials) == (RunStatus.NEEDS_PERMISSION, ())
        assert outcome.question == "Which port? (eighty / any); Why?"
        assert outcome.error == f"it asks: {outcome.question}"
        assert RunOutcome.from_json(outcome.to_json()) == outcome
        both = [*denials, {"tool_name": "Bash", "tool_input": {}}, {"tool_name": "AskUserQuestion"}]
        outcome, _ = read(claude, INIT, result(permission_denials=both))
        assert [one.tool for one in outcome.denials] == [
            "Bash",
            "AskUserQuestion",
        ]  # of the last, nothing is known
        assert outcome.question.startswith("Which port?")

    def test_numbers_that_are_none_spoil_nothing_else(self) -> None:
        given = result(structured_output={"a": math.nan, "b": math.inf, "c": 1.5}, total_cost_usd=math.nan)
        outcome, _ = read(claude, INIT, json.dumps(given).replace("Infinity", "1e999"))
        assert (outcome.status, outcome.data) == (RunStatus.OK, {"a": None, "b": None, "c": 1.5})
        assert (outcome.cost_usd, outcome.turns) == (None, 2)

    def test_what_lies_too_deep_in_itself_is_no_event(self) -> None:
        deep = json.dumps(result(structured_output=0)).replace(
            'output": 0', f'output": {"[" * 600}{"]" * 600}'
        )
        outcome, shown = read(claude, INIT, deep)
        assert (outcome.status, outcome.data) == (RunStatus.NO_RESULT, None)
        assert shown == [f"raw: {deep}"]

    def test_a_limit_whose_reset_is_told(self) -> None:
        info = {"status": "rejected", "resetsAt": 1_900_000_000, "rateLimitType": "five_hour"}
        event = {"type": "rate_limit_event", "rate_limit_info": info}
        limited = result(is_error=True, api_error_status=429, result="You've hit your limit")
        assert read(claude, event, limited)[0].reset_at == 1_900_000_000
        allowed = {"type": "rate_limit_event", "rate_limit_info": {**info, "status": "allowed"}}
        assert read(claude, allowed, limited)[0].reset_at is None

    def test_without_a_result_the_exit_code_is_no_success(self) -> None:
        assert read(claude, INIT, code=0)[0].status is RunStatus.NO_RESULT
        outcome, _ = read(claude, INIT, code=1, errors="\nError: no such option\n\n")
        assert (outcome.status, outcome.error) == (
            RunStatus.FAILED,
            "it ended with exit code 1: Error: no such option",
        )
        assert read(claude, code=-15)[0].error == "it was ended by signal 15"
        assert read(claude, code=1, errors="Invalid API key · Please run /login")[0].status is RunStatus.AUTH

    def test_how_standard_error_ends_is_what_counts(self) -> None:
        work = "HTTP 401 Unauthorized: as the test wants it\n" + "ok\n" * 5
        assert read(claude, code=1, errors=f"{work}Error: no such option")[0].status is RunStatus.FAILED
        stack = "Error: rate limit reached, retry in 90 s\n" + "    at f (file.js:1:2)\n" * 9
        limited = read(claude, code=1, errors=f"{work}{stack}")[0]
        assert limited.status is RunStatus.RATE_LIMITED
        assert limited.reset_at is not None

    def test_it_announces_its_silence(self) -> None:
        reader = claude.Reader()
        retry = {
            "type": "system",
            "subtype": "api_retry",
            "attempt": 1,
            "max_retries": 10,
            "retry_delay_ms": 35_000,
            "error": "rate_limit",
        }
        assert [one.kind for one in reader.feed(json.dumps(retry))] == ["retry"]
        assert reader.patience == 35
        reader.feed(json.dumps(INIT))
        assert reader.patience == 0

    def test_what_nobody_prices_is_unpriced(self) -> None:
        assert read(claude, result(total_cost_usd=0))[0].cost_usd is None
        assert read(claude, {k: v for k, v in result().items() if k != "total_cost_usd"})[0].cost_usd is None


def item(kind: str, done: bool = True, **more: Any) -> dict[str, Any]:
    return {"type": "item.completed" if done else "item.started", "item": {"type": kind, **more}}


class TestCodex:
    THREAD = {"type": "thread.started", "thread_id": "t1"}  # noqa: RUF012

    def test_success(self) -> None:
        outcome, shown = read(
            codex,
            self.THREAD,
            {"type": "turn.started"},
            item("error", message="Reconnecting… 1/5"),
            item("command_execution", done=False, command="npm test"),
            item("command_execution", command="npm test", exit_code=1),
            item("file_change", changes=[{"path": "a.py", "kind": "update"}]),
            item("agent_message", text="Fixed."),
            {
                "type": "turn.completed",
                "usage": {"input_tokens": 100, "cached_input_tokens": 80, "output_tokens": 7},
            },
        )
        assert (outcome.status, outcome.text, outcome.session) == (RunStatus.OK, "Fixed.", "t1")
        assert (outcome.tokens, outcome.cost_usd) == (Tokens(20, 7, 80), None)
        assert shown == [
            "warning: Reconnecting… 1/5",
            "tool: shell npm test",
            "result: exit code 1",
            "tool: edit a.py",
            "text: Fixed.",
        ]

    def test_failures(self) -> None:
        def failed(message: str) -> RunOutcome:
            event = {"type": "turn.failed", "error": {"message": message}}
            return read(codex, self.THREAD, {"type": "error", "message": "x"}, event, code=1)[0]

        limited = failed("You've hit your usage limit. Upgrade to Pro or try again in 2 hours 5 minutes.")
        assert limited.status is RunStatus.RATE_LIMITED
        assert limited.reset_at is not None
        assert failed("unexpected status 401 Unauthorized: Missing bearer").status is RunStatus.AUTH
        assert failed("stream disconnected").status is RunStatus.FAILED
        assert read(codex, self.THREAD, code=0)[0].status is RunStatus.NO_RESULT


class TestGemini:
    def test_success(self) -> None:
        def said(text: str) -> dict[str, Any]:
            return {"type": "message", "role": "assistant", "content": text, "delta": True}

        outcome, shown = read(
            gemini,
            "Loaded cached credentials.",
            {"type": "init", "session_id": "g1", "model": "pro"},
            {"type": "message", "role": "user", "content": "do it"},
            said("Let me "),
            said("look.\nYes"),
            {"type": "tool_use", "tool_name": "read_file", "parameters": {"path": "a"}},
            {"type": "tool_result", "status": "error", "error": {"message": "denied"}},
            said("It is\n"),
            said("done."),
            {
                "type": "result",
                "status": "success",
                "stats": {"input_tokens": 50, "output_tokens": 9, "cached": 30},
            },
        )
        assert (outcome.status, outcome.text, outcome.session) == (RunStatus.OK, "It is\ndone.", "g1")
        assert (outcome.tokens, outcome.cost_usd) == (Tokens(20, 9, 30), None)
        assert shown == [
            "raw: Loaded cached credentials.",
            "text: Let me look.",
            "text: Yes",
            "tool: read_file a",
            "result: denied",
            "text: It is",
            "text: done.",
        ]

    def test_failures(self) -> None:
        def failed(message: str, code: int = 1) -> RunOutcome:
            return read(
                gemini, {"type": "result", "status": "error", "error": {"message": message}}, code=code
            )[0]

        assert failed("You exceeded your current quota").status is RunStatus.RATE_LIMITED
        assert (
            failed("API key not valid", 144).status is RunStatus.FAILED
            or failed("x", 41).status is RunStatus.AUTH
        )
        assert read(gemini, code=41)[0].status is RunStatus.AUTH
        assert read(gemini, code=53)[0].status is RunStatus.LIMIT
        assert (
            read(gemini, code=55, errors="untrusted")[0].error == "it does not trust this folder: untrusted"
        )
        assert read(gemini, {"type": "init", "session_id": "g1"}, code=0)[0].status is RunStatus.NO_RESULT


def step(reason: str, cost: float = 0.0, **tokens: Any) -> dict[str, Any]:
    part = {
        "reason": reason,
        "cost": cost,
        "tokens": {"input": 10, "output": 3, "reasoning": 1, "cache": {"read": 5, "write": 2}},
    }
    return {"type": "step_finish", "sessionID": "o1", "part": part | tokens}


class TestOpencode:
    def test_success(self) -> None:
        outcome, shown = read(
            opencode,
            {"type": "step_start", "sessionID": "o1"},
            {
                "type": "tool_use",
                "part": {"tool": "bash", "state": {"status": "completed", "input": {"command": "ls"}}},
            },
            step("tool-calls", 0.01),
            {"type": "text", "part": {"text": "Done."}},
            step("stop", 0.02),
        )
        assert (outcome.status, outcome.text, outcome.session, outcome.turns) == (
            RunStatus.OK,
            "Done.",
            "o1",
            2,
        )
        assert outcome.tokens == Tokens(24, 8, 10)
        assert outcome.cost_usd == pytest.approx(0.03)
        assert shown == ["tool: bash ls", "text: Done."]
        assert read(opencode, step("stop"))[0].cost_usd is None

    def test_failures(self) -> None:
        def failed(http: int, message: str = "x") -> RunOutcome:
            error = {
                "name": "APIError",
                "data": {"statusCode": http, "message": message, "isRetryable": False},
            }
            return read(opencode, {"type": "error", "sessionID": "o1", "error": error}, code=1)[0]

        assert failed(401).status is RunStatus.AUTH
        assert failed(429).status is RunStatus.RATE_LIMITED
        assert (failed(500, "broken").status, failed(500, "broken").error) == (RunStatus.FAILED, "broken")
        assert read(opencode, step("tool-calls"), code=0)[0].status is RunStatus.NO_RESULT
        assert read(opencode, step("length"), code=0)[0].status is RunStatus.LIMIT
        assert read(opencode, step("stop"), code=1)[0].status is RunStatus.FAILED


class TestPlain:
    def test_its_exit_code_has_to_do(self) -> None:
        assert read(plain, "one", "two")[0].text == "one\ntwo"
        assert read(plain, "one")[0].status is RunStatus.OK
        assert read(plain)[0].status is RunStatus.NO_RESULT
        for most in (MOST_TEXT, 2 * MOST_TEXT):  # cut at the end, and before
            cut = read(plain, f"secret{'x' * (most - 3)}", "last")[0].text
            assert (cut.startswith("x"), cut.endswith("x\nlast")) == (True, True)
        assert read(plain, "half", code=2, errors="bad")[0].error == "it ended with exit code 2: bad"

    @pytest.mark.parametrize(
        "errors", ["src/authentication/login_test.py FAILED", "HTTP 401 Unauthorized", "429"]
    )
    def test_no_word_of_it_is_a_provider_s(self, errors: str) -> None:
        """What it tells of may be its work: nobody has to log in, and nothing is waited for."""
        outcome, _ = read(plain, code=1, errors=errors)
        assert (outcome.status, outcome.reset_at) == (RunStatus.FAILED, None)

    def test_aider_has_sent_a_message(self) -> None:
        reader = aider.Reader()
        reader.feed("Applied edit to a.py")
        send = {
            "event": "message_send",
            "properties": {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.5},
        }
        reader.log(f"{json.dumps(send)}\nnot json\n{json.dumps(send)}\n")
        outcome = reader.end(0, "")
        assert (outcome.status, outcome.tokens.input, outcome.cost_usd) == (RunStatus.OK, 18, 1.0)
        reader = aider.Reader()
        reader.feed("litellm.AuthenticationError: invalid x-api-key")
        assert reader.end(0, "").status is RunStatus.AUTH
        assert aider.Reader().end(0, "").status is RunStatus.NO_RESULT


KEYS = st.sampled_from(
    "type subtype message content item part state tokens cache error data status result usage modelUsage role "
    "session_id "
    "sessionID stats is_error permission_denials tool_name tool_input delta changes num_turns reason cost "
    "rate_limit_info resetsAt retry_delay_ms api_error_status text name input exit_code".split()
)
WORDS = st.sampled_from(
    "assistant user system result init api_retry rate_limit_event success error text tool_use tool_result message "
    "item.completed turn.completed turn.failed thread.started agent_message command_execution file_change step_finish "
    "step_start stop rejected".split()
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | texts(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)
EVENTS = st.dictionaries(KEYS, VALUES, max_size=8).map(json.dumps)


@settings(max_examples=30)
@given(
    lines=st.lists(EVENTS | texts(max_size=60), max_size=12),
    code=st.none() | st.integers(-64, 255),
    errors=texts(),
)
def test_nothing_that_is_printed_breaks_a_reader(lines: list[str], code: int | None, errors: str) -> None:
    for name in READERS:  # to make up the lines takes much longer than to read them
        survives(name, lines, code, errors)


def survives(name: str, lines: list[str], code: int | None, errors: str) -> None:
    reader = READERS[name]()
    for line in lines:
        for shown in reader.feed(line):
            assert isinstance(shown.text, str)
        assert reader.patience >= 0
    reader.log("\n".join(lines))
    outcome = reader.end(code, errors)
    assert outcome.ok or outcome.error
    assert RunOutcome.from_json(json.loads(json.dumps(outcome.to_json()))).status is outcome.status
    if name not in ("plain", "aider") and not any("{" in line for line in lines):
        assert not outcome.ok
