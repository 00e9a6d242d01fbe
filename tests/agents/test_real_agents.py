"""The real programs, from npm, against a stub of their API on the loopback: not part of the usual suite.

pytest -n 0 -m real_agents tests/agents          # installs them, which takes a while
PANEVIEW_REAL_AGENTS=FOLDER …                    # those that `npm install --prefix FOLDER` has put there
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paneview.agents.attending import Attendance
from paneview.agents.model import RunOutcome, RunRequest, RunStatus, Tokens
from paneview.config.workflows.roles import Runner, built_in_runners
from tests.agents.stub import ANSWER, Stub, serving
from tests.harness import Sandbox, marked, words_of

pytestmark = [pytest.mark.real_agents, pytest.mark.timeout(300)]
PACKAGES = {
    "claude": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "gemini": "@google/gemini-cli",
    "opencode": "opencode-ai",
}
PROMPT = 'Say something. $(touch owned) `touch owned` "quoted" it\'s\n--help\n'


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """The folder of the installed programs."""
    if (given := os.environ.get("PANEVIEW_REAL_AGENTS")) is not None:
        yield Path(given) / "node_modules/.bin"
        return
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    folder = tempfile.mkdtemp(prefix="pv-agents-")
    environ = {**os.environ, "HOME": folder}
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, *PACKAGES.values()]
    subprocess.run(command, env=environ, check=True, timeout=280, stdout=subprocess.DEVNULL)
    yield Path(folder) / "node_modules/.bin"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as made:
        yield made


class Real:
    """One real program, and where it thinks its provider is."""

    def __init__(self, name: str, programs: Path, stub: Stub, sandbox: Sandbox) -> None:
        if not (programs / name).exists():
            pytest.skip(f"{name} could not be installed")
        self.stub = stub
        self.root = sandbox.root
        self._marker = sandbox.marker
        self.folder = sandbox.root / "project"
        self.folder.mkdir()
        _settle(self.root)
        self._number = 0
        self.runner: Runner = built_in_runners()[name]._replace(
            argv=(str(programs / name),),
            timeout=120.0,
            stall_timeout=60.0,
            **_more(name, stub),
        )

    def do(self, prompt: str = PROMPT, stop: Callable[[], str] = str, **more: object) -> RunOutcome:
        self._number += 1
        run = f"r{self._number}-{self.root.name}"  # the run's name marks its processes: no two tests may share it
        env = {
            **os.environ,
            "HOME": str(self.root),
            "PATH": os.environ["PATH"],
            "XDG_DATA_HOME": str(self.root / "data"),
        }
        request = RunRequest(run, prompt, self.folder, self.root / "runs" / run, env=env, **more)  # type: ignore[arg-type]
        shown: list[str] = []
        outcome = Attendance(self.runner, request, shown.append).run(stop)
        print(json.dumps({"outcome": outcome.to_json(), "shown": shown}, indent=1))
        for file in ("transcript.jsonl", "errors.log", "shim.log"):
            print((request.folder / file).read_text()[-3000:])
        return outcome

    def left(self) -> list[list[str]]:
        """What its programs have left running."""
        return [words_of(one) for one in marked(self._marker)]


def _settle(home: Path) -> None:
    """gemini takes an address of its API in the environment for a gateway, unless its settings name a login."""
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"maxAttempts": 2}}
    (home / ".gemini").mkdir()
    (home / ".gemini/settings.json").write_text(json.dumps(settings))


def _more(name: str, stub: Stub) -> dict[str, object]:
    match name:
        case "claude":
            quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": "1"}
            return {
                "env": {
                    "ANTHROPIC_BASE_URL": stub.url,
                    "ANTHROPIC_API_KEY": "sk-ant-stub-0123456789012345",
                    **quiet,
                }
            }
        case "codex":
            provider = f'{{name="stub",base_url="{stub.url}/v1",env_key="STUB_KEY",wire_api="responses",'
            provider += "request_max_retries=0,stream_max_retries=0}"
            args = ("-c", "model_provider=stub", "-c", f"model_providers.stub={provider}")
            return {"env": {"STUB_KEY": "stub"}, "args": args, "model": "gpt-5"}
        case "gemini":
            return {
                "env": {"GOOGLE_GEMINI_BASE_URL": stub.url, "GEMINI_API_KEY": "stub-key-stub-key"},
                "model": "gemini-2.5-pro",
            }
    provider = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": f"{stub.url}/v1", "apiKey": "stub"},
                "models": {"m": {"name": "m", "limit": {"context": 100_000, "output": 4_000}}}}  # fmt: skip
    config = {"provider": {"stub": provider}, "autoupdate": False, "share": "disabled"}
    return {"env": {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}, "model": "stub/m"}


@pytest.fixture(params=PACKAGES)
def real(request: pytest.FixtureRequest, programs: Path, stub: Stub, sandbox: Sandbox) -> Real:
    return Real(request.param, programs, stub, sandbox)


USED = {
    "claude": Tokens(11, 7, 0),
    "codex": Tokens(15, 7, 5),
    "gemini": Tokens(20, 7, 0),
    "opencode": Tokens(20, 7, 0),
}


def test_it_answers_and_goes_on_in_its_session(real: Real) -> None:
    outcome = real.do()
    assert (outcome.status, outcome.text.strip()) == (RunStatus.OK, ANSWER)
    assert outcome.session
    assert outcome.tokens == USED[real.runner.name]
    assert any("$(touch owned)" in body for body in real.stub.prompts)
    assert not list(real.root.rglob("owned"))
    again = real.do("And again.", resume=outcome.session, permissions="edit")
    assert (again.status, again.session) == (RunStatus.OK, outcome.session)
    twice = Tokens(30, 14, 10) if real.runner.name == "codex" else None
    assert again.session_tokens == twice
    assert again.tokens == (twice or USED[real.runner.name])
    assert any("$(touch owned)" in body and "And again." in body for body in real.stub.prompts)


MADE_UP = {
    "claude": "01234567-89ab-4def-8123-456789abcdef",
    "codex": "01234567-89ab-7def-8123-456789abcdef",
    "gemini": "01234567-89ab-4def-8123-456789abcdef",
    "opencode": "ses_0123456789abcdefghijABCDEF",
}


def test_a_session_that_is_not_there(real: Real) -> None:
    outcome = real.do(resume=MADE_UP[real.runner.name])
    assert (outcome.status, outcome.session, outcome.session_gone) == (RunStatus.FAILED, "", True)


def test_a_key_that_is_refused(real: Real) -> None:
    real.stub.status = 401
    assert real.do().status is RunStatus.AUTH


def test_a_rate_limit(real: Real) -> None:
    """Also where the program would wait for ever: opencode says so in its log alone."""
    real.stub.status = 429
    real.runner = real.runner._replace(stall_timeout=10.0)
    assert real.do().status is RunStatus.RATE_LIMITED


def test_a_run_that_is_cancelled_leaves_nothing(real: Real) -> None:
    real.stub.open.clear()
    outcome = real.do(stop=lambda: "end" if real.stub.prompts else "")
    assert outcome.status is RunStatus.CANCELLED
    assert not real.left()


def test_codex_is_given_a_schema(programs: Path, stub: Stub, sandbox: Sandbox) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    real = Real("codex", programs, stub, sandbox)
    outcome = real.do(schema=schema)
    assert outcome.status is RunStatus.NO_RESULT  # the stub's answer is no JSON, and stays none
    assert outcome.resumed == 1
    assert any('"additionalProperties"' in body for body in stub.prompts)
