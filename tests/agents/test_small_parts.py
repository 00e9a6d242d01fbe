"""What the reading of agents is made of: failures and resets, JSON that is to fit, redaction, lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.agents import folder as place
from paneview.agents.attending import prune
from paneview.agents.driving import bounded
from paneview.agents.failures import classify, reset_time
from paneview.agents.fitting import NoJson, example, find_json, misfits
from paneview.agents.model import Denial, RunOutcome, RunRequest, RunStatus, Tokens
from paneview.agents.parsing import Shown, call_text
from paneview.agents.presets import preset_of
from paneview.agents.process import Lines
from paneview.agents.redact import Redactor, secrets_of
from paneview.agents.showing import LONGEST, Book
from paneview.config.workflows.roles import Runner, built_in_runners
from tests.texts import texts

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=ZoneInfo("UTC")).timestamp()


@pytest.mark.parametrize(
    ("message", "wait"),
    [
        ("Claude AI usage limit reached|1772370000", 1772370000 - NOW),
        ("try again in 2 hours 5 minutes.", 7500),
        ("Please retry in 34.5s", 34.5),
        ("rate limited, retry after 20 seconds", 20),
        ("Try again in 3 days, 1 hour", 3 * 86400 + 3600),
        ("your limit resets 3pm (UTC)", 3 * 3600),
        ("resets at 11:30 (UTC)", 23.5 * 3600),
        ("resets 5:00am (Europe/Berlin)", 16 * 3600),
        ("retry in 250ms", 0.25),
        ("it failed", None),
        ("try again later", None),
        ("resets at 99:99", None),
    ],
)
def test_when_a_limit_ends(message: str, wait: float | None) -> None:
    found = reset_time(message, NOW)
    assert found == (None if wait is None else pytest.approx(NOW + wait))


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("Not logged in · Please run /login", RunStatus.AUTH),
        ("Authentication failed.", RunStatus.AUTH),
        ('{"type":"authentication_error","message":"invalid x-api-key"}', RunStatus.AUTH),
        ("litellm.AuthenticationError: no", RunStatus.AUTH),
        ("The API provider is not able to authenticate you. Check your API key.", RunStatus.AUTH),
        ("API key not valid. Please pass a valid API key.", RunStatus.AUTH),
        ("403 Forbidden", RunStatus.AUTH),
        ("You exceeded your current quota, please check your plan and billing details.", RunStatus.AUTH),
        ("src/authentication/login_test.py FAILED", RunStatus.FAILED),
        ("cannot write src/login/unauthorized.py", RunStatus.FAILED),
        ("tests/api/login: authenticates 3 users, forbidden names, billing", RunStatus.FAILED),
    ],
)
def test_what_a_failure_is(message: str, status: RunStatus) -> None:
    assert classify(message) is status


@given(texts())
def test_any_message_means_something(message: str) -> None:
    assert classify(message) in RunStatus
    assert (found := reset_time(message, NOW)) is None or NOW <= found <= NOW + 9 * 86400


SCHEMA = {
    "type": "object",
    "required": ["verdict", "n"],
    "additionalProperties": False,
    "properties": {
        "verdict": {"enum": ["good", "bad"]},
        "n": {"type": "integer", "minimum": 1},
        "list": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"verdict": "good", "n": 1, "list": ["a"], "either": None}, []),
        ([], ["$ must be object, not array"]),
        (
            {"verdict": "meh", "n": True},
            ['$.verdict is not one of ["good", "bad"]', "$.n must be integer, not boolean"],
        ),
        ({"n": 0}, ["$ has no 'verdict'", "$.n must be at least 1, not 0"]),
        (
            {"verdict": "bad", "n": 2.0, "x": 1, "either": 3},
            ["$.either fits none of the alternatives", "$.x is not allowed"],
        ),
        (
            {"verdict": "bad", "n": 1, "list": ["long", 1, "c"]},
            [
                "$.list[0] must have at most 3 characters, not 4",
                "$.list[1] must be string, not number",
                "$.list must have at most 2 items, not 3",
            ],
        ),
    ],
)
def test_what_fits_a_schema(value: object, wrong: list[str]) -> None:
    assert list(misfits(value, SCHEMA)) == wrong


@pytest.mark.parametrize(
    "broken",
    [
        {"type": 5},
        {"type": [{}]},
        {"enum": 5},
        {"required": True},
        {"properties": [], "additionalProperties": False},
        {"properties": {"a": 5}},
        {"items": "x"},
        {"allOf": 3},
        {"oneOf": {}},
        {"minItems": "3"},
        {"pattern": 7},
    ],
)
def test_a_keyword_that_is_none_says_nothing(broken: dict[str, object]) -> None:
    """`check` tells of it; a job may come from elsewhere."""
    for value in ({}, [1], "x", 2):
        assert list(misfits(value, broken)) == []


def test_the_plainest_example_fits() -> None:
    assert list(misfits(example(SCHEMA), SCHEMA)) == []


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'Here it is:\n```json\n{"a": 1}\n```\nBye.',
        '```\n{"a": 0}\n```\nbetter:\n```json\n{"a": 1}\n```',
        'I think {this} is [it]: {"a": 0} no, {"a": 1}. Done}',
    ],
)
def test_json_is_found_in_what_an_agent_says(text: str) -> None:
    assert find_json(text) == {"a": 1}


@pytest.mark.parametrize("levels", [150, 600, 2000])
def test_what_lies_too_deep_is_no_json_nor_is_a_part_of_it(levels: int) -> None:
    deep = '{"a":' * levels + "1" + "}" * levels
    assert find_json(f'{{"a": 1}} and {deep}') == {"a": 1}
    for text in (deep, f"It is {deep}", '{"a": 1e999}', '{"a": NaN}'):
        with pytest.raises(NoJson):
            find_json(text)


@given(texts())
def test_text_without_json(text: str) -> None:
    try:
        json.dumps(find_json(text))
    except NoJson:
        assert "{}" not in text


def test_garbage_keeps_nobody_busy() -> None:
    """Of a megabyte and of 120 KB: without a bound, these took more than a minute and 7 s.

    Python 3.14 reads 100,000 levels, and a try costs as much longer.
    """
    began = time.process_time()
    for size in (1_000_000, 60_000):
        with pytest.raises(NoJson):
            find_json("[" * size)
    assert Redactor().text("-eyJ" * 30_000)
    assert time.process_time() - began < 4


def test_json_that_is_too_large_is_no_result() -> None:
    given = RunOutcome(RunStatus.OK, "x", data=["y" * 999_000], cost_usd=0.5)
    assert bounded(given) is given
    outcome = bounded(given._replace(data=["y" * 1_000_000]))
    assert (outcome.status, outcome.data, outcome.cost_usd) == (RunStatus.NO_RESULT, None, 0.5)
    assert "1000004 characters of JSON" in outcome.error


def test_redaction() -> None:
    values = secrets_of(
        {"API_KEY": "s3cr3t-value", "PATH": "/usr/bin/local", "SHORT_KEY": "abc", "MY_TOKEN": 'a"b\nc12345'}
    )
    assert values == {"s3cr3t-value", 'a"b\nc12345'}
    redactor = Redactor(values)
    assert redactor.text("x s3cr3t-value y") == "x ******** y"
    assert redactor.text(json.dumps({"t": 'a"b\nc12345'})) == '{"t": "********"}'
    accented = Redactor({'pä"ss-word'})  # JavaScript escapes the quote, but not the letter
    for ascii_only in (True, False):
        assert accented.text(json.dumps('pä"ss-word', ensure_ascii=ascii_only)) == '"********"'
    assert redactor.json({"s3cr3t-value": ["s3cr3t-value", 1, None]}) == {"********": ["********", 1, None]}


def test_a_secret_where_a_tool_call_is_cut_is_masked_whole(tmp_path: Path) -> None:
    call = call_text("Bash", {"command": f"{'x' * (LONGEST - 15)} s3cr3t-value"})
    Book(tmp_path, Redactor({"s3cr3t-value"})).show(Shown("tool", call))
    shown = (tmp_path / place.SHOWN).read_text()
    assert len(shown) < LONGEST + 5
    assert "s3" not in shown


@pytest.mark.parametrize(
    "token",
    [
        "sk-ant-api03-" + "aB3_" * 10,
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1_" * 12,
        "xoxb-1234567890-abc",
        "AKIAIOSFODNN7EXAMPLE",
        "AIza" + "Sy" * 17 + "z",
        "npm_" + "a1" * 18,
        "hf_" + "aB" * 17,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmno",
        "glpat-" + "a1" * 10,
        "-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_tokens_are_known_by_their_shape(token: str) -> None:
    assert Redactor().text(f"it is {token}, yes") == "it is ********, yes"


def test_the_end_of_a_key_whose_beginning_was_cut_off_is_known() -> None:
    assert Redactor().text(f"{'Zm9v' * 12}\n-----END PRIVATE KEY-----\nrest") == "********\nrest"


def test_innocent_text_stays() -> None:
    text = "task-force risk-taking desk-based https://example.org:8080/a@b sk-short ghp_x 2024-01-01 skeleton_key"
    assert Redactor().text(text) == text
    assert Redactor().text("redis://me:pass@host/0") == "redis://********@host/0"


@given(st.lists(st.binary(max_size=40).filter(lambda data: b"\n" not in data)), st.lists(st.integers(1, 7)))
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(lines)
    found: list[str] = []
    reader = Lines(found.append)
    at = 0
    for size in (*cuts, len(data) + 1):
        reader.feed(data[at : at + size])
        at += size
    reader.end()
    assert [line for line in found if line] == [line.decode("utf-8", "replace") for line in lines if line]


def test_an_outcome_survives_json() -> None:
    outcome = RunOutcome(
        RunStatus.BUDGET,
        "text",
        {"a": [1]},
        "why",
        "s",
        Tokens(1, 2, None),
        None,
        3,
        4.5,
        (Denial("Bash", {"command": "x"}),),
        "Which port?",
        -9,
        1.0,
        2.0,
        1,
        ("a",),
        Tokens(3, 4, 5),
        True,
    )
    assert RunOutcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    assert RunOutcome.from_json({"status": "ok", "of a later version": 1}) == RunOutcome(RunStatus.OK)


HOSTILE = "--dangerously-skip-permissions; rm -rf / #"


@pytest.mark.parametrize("name", built_in_runners())
@pytest.mark.parametrize("permissions", ["read", "edit", "full"])
def test_a_request_chooses_no_flags(tmp_path: Path, name: str, permissions: str) -> None:
    """Neither prompt nor session is ever a word of its own that could be an option; only `full` may skip questions."""
    runner = Runner(name, name, model="m1", args=("--extra",))
    schema = {"description": HOSTILE}
    request = RunRequest("r", HOSTILE, tmp_path, tmp_path, permissions, "s1", schema, 1.5)  # type: ignore[arg-type]
    argv = preset_of(runner).argv(runner, request)
    assert HOSTILE not in argv
    assert not [word for word in argv if word.startswith("--dangerously-skip")]
    unasked = {
        "--dangerously-bypass-approvals-and-sandbox",
        "--permission-mode=bypassPermissions",
        "--approval-mode=yolo",
        "--auto",
    }
    assert bool(unasked & set(argv)) == (permissions == "full" and name != "aider")
    assert "--extra" in argv
    assert "--model=m1" in argv
    if preset_of(runner).RESUMES:
        assert any(word.endswith("s1") for word in argv)


def test_files_are_whole_and_private(tmp_path: Path) -> None:
    folder = place.make(tmp_path / "runs" / "r1")
    place.write_json(folder / "x.json", {"a": 1}, durable=True)
    assert oct((folder / "x.json").stat().st_mode & 0o777) == "0o600"
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert place.read_json(folder / "x.json") == {"a": 1}
    assert place.read_json(folder / "none") is None
    for text in ("[1]", "[" * 100_000):
        (folder / "x.json").write_text(text)
        assert place.read_json(folder / "x.json") is None
    with pytest.raises(ValueError, match="not the id of a run"):
        place.run_folder(tmp_path, "../x")


def test_folders_of_old_runs_are_removed_and_those_in_use_stay(tmp_path: Path) -> None:
    now, held = time.time(), []
    for name in ("ended", "given-up", "attended", "running", "yesterday", "longer"):
        folder = place.make(place.run_folder(tmp_path, name))
        if name in ("ended", "longer"):
            place.write_json(folder / place.OUTCOME, {})
        if name in ("attended", "running"):
            held.append(place.lock(folder / f"{name}.lock"))
        if name != "yesterday":
            os.utime(folder / place.OUTCOME if name == "ended" else folder, (now, now - 31 * 86_400))
    (place.runs_dir(tmp_path) / ".DS_Store").touch()
    assert prune(tmp_path, 30, now) == 2
    left = {folder.name for folder in place.runs_dir(tmp_path).iterdir()}
    assert left == {"attended", "running", "yesterday", "longer", ".DS_Store"}
    assert prune(tmp_path / "nowhere", 30, now) == 0
    for lock in held:
        assert lock is not None
        os.close(lock)


def test_what_is_loaded_beside_each_agent_is_little() -> None:
    heavy = {"asyncio", "dataclasses", "msgspec", "traceback", "zoneinfo"}
    words = f"import sys, paneview.agents.driving; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


TOLD = """
import _thread, select, signal, threading
from paneview.agents.shim import Told

told = Told()
# As if the signal came just before the wait, so that it does not end it.
threading.Timer(0.2, _thread.interrupt_main, [signal.SIGTERM]).start()
ready, _, _ = select.select([told.bell], [], [], 20)
print(bool(ready), told.to_end)
"""


def test_a_shim_hears_at_any_moment_that_it_is_to_end() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
