"""Runs from their beginning to the last trace of them, without a worker: plain programs under the shim."""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import pytest

from paneview import proc
from paneview.agents import folder as place
from paneview.agents import strays
from paneview.agents.attending import Attendance, Ended, start_over
from paneview.agents.model import RunOutcome, RunRequest, RunStatus, Tokens
from paneview.config.workflows.roles import Runner
from tests.harness import Sandbox, alive, wait_until

STUBBORN = """
import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: print(number, file=open("signals", "a"), flush=True))
away = subprocess.Popen(["sleep", "60"], start_new_session=True)
print(away.pid, file=open("away", "w"), flush=True)
print("at work", flush=True)
while True:
    time.sleep(0.1)  # a signal just before a sleep is heard after it
"""


class Run:
    """One run of a program, in a folder of its own."""

    def __init__(self, sandbox: Sandbox, *argv: str, **more: object) -> None:
        self.folder = sandbox.root / "project"
        self.folder.mkdir()
        self.shown: list[str] = []
        kept = sandbox.root / "runs" / sandbox.root.name
        runner = Runner("mine", "plain", argv=argv)._replace(**more)  # type: ignore[arg-type]
        self.request = RunRequest(sandbox.root.name, "x", self.folder, kept, env=dict(os.environ))
        self._runner = runner
        self.attendance = self.again()

    def again(self) -> Attendance:
        """The same job in the next worker's hands."""
        return Attendance(self._runner, self.request, self.shown.append)

    def file(self, name: str) -> Path:
        return self.folder / name


def test_ctrl_c_then_term_then_kill_and_then_what_left_its_group(sandbox: Sandbox) -> None:
    run = Run(sandbox, sys.executable, "-c", STUBBORN)
    outcome = run.attendance.run(lambda: "end" if "at work" in run.shown else "")
    assert (outcome.status, outcome.error) == (RunStatus.CANCELLED, "it was cancelled")
    assert outcome.exit_code == -9
    assert run.file("signals").read_text().split() == ["2", "15"]
    assert not alive(int(run.file("away").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_what_hides_in_another_session_without_its_environment_is_ended(sandbox: Sandbox) -> None:
    hidden = "setsid -f sh -c 'echo $$ > away; exec sleep 60'"
    run = Run(
        sandbox, "sh", "-c", f'until test -e "$0"; do sleep 0.02; done; env -i {hidden}; sleep 0.1; echo done'
    )
    argv = (*run._runner.argv, str(run.request.folder / place.SHIM))
    run._runner = run._runner._replace(argv=argv)
    assert run.again().run(str).text == "done"
    assert not alive(int(run.file("away").read_text()))


def test_a_run_may_last_and_be_silent_as_long_as_it_likes(sandbox: Sandbox) -> None:
    run = Run(sandbox, "sh", "-c", "sleep 0.1; echo done", timeout=1e9, stall_timeout=0.0)
    assert run.attendance.run(str).status is RunStatus.OK


def test_a_secret_where_an_error_is_cut_is_masked_whole(sandbox: Sandbox) -> None:
    run = Run(sandbox, "sh", "-c", 'printf "%0490d %s" 0 "$MY_TOKEN" >&2; exit 1')
    run.request = run.request._replace(env={**os.environ, "MY_TOKEN": "s3cr3t-value-for-nobody"})
    assert run.again().run(str).error.endswith("0 ********")


def test_nothing_is_left_open_and_a_late_call_writes_into_no_other_file(sandbox: Sandbox) -> None:
    run = Run(sandbox, "true")
    gc.collect()  # what other tests have left is not closed meanwhile
    opened = psutil.Process().num_fds()
    held = place.lock(place.make(run.request.folder) / place.ATTENDED)
    assert held is not None
    with pytest.raises(Ended):
        run.again().run(lambda: "leave")
    os.close(held)
    late = run.again()
    assert late.run(str).status is RunStatus.NO_RESULT
    assert psutil.Process().num_fds() == opened
    others = [os.pipe() for _ in range(3)]  # the numbers that it had are given out again
    late.wake()
    assert not select.select([reader for reader, _ in others], [], [], 0)[0]
    for end in chain.from_iterable(others):
        os.close(end)


def test_a_worker_with_very_many_open_files_waits_for_its_agents(sandbox: Sandbox) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert Run(sandbox, "sleep", "0.3").again().run(str).status is RunStatus.NO_RESULT
    finally:
        for one in many:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_terminal_that_is_closed_just_as_a_run_begins_does_not_lose_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The death of the tmux server, between the fork of the run's first process and its new session."""

    def struck() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", partial(subprocess.Popen, preexec_fn=struck))
    told = (
        "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGHUP))"
    )
    outcome = Run(sandbox, sys.executable, "-c", told).again().run(str)
    assert (outcome.status, outcome.text) == (RunStatus.OK, f"set() {signal.SIG_DFL!s}")


def test_a_run_that_ends_while_the_next_worker_looks_for_it_is_not_lost(sandbox: Sandbox) -> None:
    class Slow(Attendance):
        def outcome(self) -> RunOutcome | None:
            found = super().outcome()
            run.file("go").touch()
            wait_until(lambda: not place.is_locked(run.request.folder / place.RUNNING))
            return found

    run = Run(sandbox, "sh", "-c", "echo paid for; until test -e go; do sleep 0.02; done")
    with pytest.raises(Ended):
        run.attendance.run(lambda: "leave" if run.shown else "")
    outcome = Slow(run._runner, run.request, run.shown.append).run(str)
    assert run.attendance._shim
    assert run.attendance._shim.wait(5) == 0
    assert (outcome.status, outcome.text) == (RunStatus.OK, "paid for")


WORKS_ON = """
import os, time
print("at work", flush=True)
while not os.path.exists("full"):
    time.sleep(0.02)
print("done", flush=True)
"""


def test_a_run_that_ends_while_the_disk_is_full_is_not_lost(sandbox: Sandbox) -> None:
    """Instead of a full disk, its shim may not make any file longer: the writes fail as truly."""
    run = Run(sandbox, sys.executable, "-c", WORKS_ON)
    kept = run.request.folder

    def stop() -> str:
        if "at work" in run.shown and not run.file("full").exists():
            shim_of(run).rlimit(psutil.RLIMIT_FSIZE, (1, psutil.RLIM_INFINITY))
            run.file("full").touch()
        elif list(kept.glob(".outcome.json.*")):  # it could not be written
            shim_of(run).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        return ""

    outcome = run.attendance.run(stop)
    assert (outcome.status, outcome.text, outcome.exit_code) == (RunStatus.OK, "at work\ndone", 0)
    assert run.again().outcome() == outcome


def test_what_cannot_be_written_for_another_reason_is_not_waited_for(sandbox: Sandbox) -> None:
    run = Run(sandbox, sys.executable, "-c", WORKS_ON)

    def stop() -> str:
        if "at work" in run.shown and not run.file("full").exists():
            shutil.rmtree(run.request.folder)
            run.file("full").touch()
        return ""

    assert run.attendance.run(stop).status is RunStatus.LOST


@pytest.mark.parametrize(
    ("runner", "request_", "error"),
    [({}, {"budget_usd": "much"}, "TypeError("), ({"parser": "nope"}, {}, "ModuleNotFoundError(")],
    ids=["while it is watched", "before it is watched"],
)
def test_a_defect_in_the_shim_ends_the_agent_and_is_told(
    sandbox: Sandbox, runner: dict[str, object], request_: dict[str, Any], error: str
) -> None:
    run = Run(sandbox, "sh", "-c", "echo on; exec sleep 60", **runner)
    run.request = run.request._replace(**request_)
    outcome = run.again().run(str)
    assert outcome.status is RunStatus.FAILED
    assert outcome.error.startswith(f"a defect of paneview ended it: {error}")
    assert not proc.ProcessTable.read().marked(run.attendance.marker)


def shim_of(run: Run) -> psutil.Process:
    return psutil.Process(json.loads((run.request.folder / "shim.json").read_bytes())["pid"])


@pytest.mark.parametrize("young", [False, True], ids=["stopped", "young"])
def test_a_stray_ends_also_if_its_shim_is_stopped_or_has_not_said_who_it_is(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, *, young: bool
) -> None:
    monkeypatch.setattr(strays, "PATIENCE", 0.2)
    run = Run(sandbox, "sh", "-c", "echo on; exec sleep 60")
    with pytest.raises(Ended):
        run.attendance.run(lambda: "leave" if "on" in run.shown else "")
    shim_of(run).suspend()
    if young:
        (run.request.folder / place.SHIM).unlink()
    strays.end([run.request.folder])
    left = proc.ProcessTable.read().marked(run.attendance.marker)
    proc.send(signal.SIGKILL, chain.from_iterable(left.values()))
    assert run.attendance._shim
    run.attendance._shim.wait(10)
    assert not left


def test_a_refusal_that_is_repeated_for_ever_is_no_sign_of_life(sandbox: Sandbox) -> None:
    """Its provider's limit comes out, rather than its silence."""
    script = "while :; do echo 'HTTP 429: too many requests, retry in 90 s' >&2; sleep 0.1; done"
    began = time.time()
    outcome = _limited(Run(sandbox, "sh", "-c", script, stall_timeout=0.5))
    assert outcome.reset_at is not None
    assert began + 85 < outcome.reset_at < time.time() + 95


def test_a_refusal_before_the_time_is_up(sandbox: Sandbox) -> None:
    _limited(Run(sandbox, "sh", "-c", "echo 'rate limit' >&2; sleep 60", timeout=0.3))


def test_what_works_again_after_a_refusal_has_stalled(sandbox: Sandbox) -> None:
    script = "echo '429 rate limit' >&2; until grep -q 429 \"$1\"; do sleep 0.02; done; echo on; sleep 60"
    errors = str(sandbox.root / "runs" / sandbox.root.name / "errors.log")
    run = Run(sandbox, "sh", "-c", script, "sh", errors, stall_timeout=0.5)
    assert run.attendance.run(str).status is RunStatus.STALLED


CODEX = """
import json, sys
again = "resume" in sys.argv
told = [{"type": "thread.started", "thread_id": "t1"}]
if again:
    told.append({"type": "item.completed", "item": {"type": "agent_message", "text": "{}"}})
used = {"input_tokens": 300, "cached_input_tokens": 200, "output_tokens": 20} if again else {"input_tokens": 100}
told.append({"type": "turn.completed", "usage": {"output_tokens": 10, **used}})
print(*map(json.dumps, told), sep="\\n")
"""


def test_what_a_session_tells_of_all_its_turns_is_counted_once(sandbox: Sandbox) -> None:
    run = Run(sandbox, sys.executable, "-c", CODEX, preset="codex", parser="codex")
    run.request = run.request._replace(schema={"type": "object"})
    outcome = run.again().run(str)
    assert (outcome.status, outcome.resumed) == (RunStatus.OK, 1)
    assert outcome.tokens == outcome.session_tokens == Tokens(100, 20, 200)


GONE = {
    "claude": "No conversation found with session ID: s1",
    "codex": "Error: thread/resume: thread/resume failed: no rollout found for thread id s1 (code -32600)\n"
    "Stack backtrace:\n   0: <unknown>\n   1: <unknown>",
    "gemini": 'Error resuming session: Invalid session identifier "s1".',
    "opencode": "\x1b[91m\x1b[1mError: \x1b[0mSession not found",
}


@pytest.mark.parametrize("name", GONE)
def test_a_session_that_is_gone_is_told(sandbox: Sandbox, name: str) -> None:
    run = Run(sandbox, "sh", "-c", 'printf "%s\\n" "$WORDS" >&2; exit 1', preset=name, parser=name)
    run.request = run.request._replace(env={**os.environ, "WORDS": GONE[name]}, resume="s1")
    outcome = run.again().run(str)
    assert (outcome.status, outcome.session, outcome.session_gone) == (RunStatus.FAILED, "", True)
    assert GONE[name].splitlines()[0] in outcome.error


AIDER = """
import json, os, sys, time
log = next(word.partition("=")[2] for word in sys.argv if word.startswith("--analytics-log="))
if os.path.exists(log):
    sys.exit(print("litellm.APIError: the connection was cut"))
sent = {"event": "message_send", "properties": {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.5}}
print(json.dumps(sent), file=open(log, "w"), flush=True)
print("at work", flush=True)
time.sleep(60)
"""


def test_what_an_ended_attempt_has_sent_makes_the_next_one_no_success(sandbox: Sandbox) -> None:
    """Its log is the same file; what it has used stays used."""
    run = Run(sandbox, sys.executable, "-c", AIDER, preset="aider", parser="aider")
    assert run.attendance.run(lambda: "end" if "at work" in run.shown else "").status is RunStatus.CANCELLED
    outcome = run.again().run(str)
    assert (outcome.status, outcome.error) == (
        RunStatus.NO_RESULT,
        "litellm.APIError: the connection was cut",
    )
    assert (outcome.tokens.input, outcome.tokens.output, outcome.cost_usd) == (7, 3, 0.5)


LIMITED = """
import json, os
left = int(os.path.exists("limited"))
open("limited", "w").close()
told = {"type": "result", "session_id": "s1", "num_turns": 3, "total_cost_usd": 2.5 - 2 * left}
told |= {"usage": {"input_tokens": 7, "output_tokens": 3}, "result": "rate limit" if not left else "done"}
print(json.dumps(told | {"subtype": "success", "is_error": not left}))
"""


def test_what_a_run_has_used_before_its_limit_counts(sandbox: Sandbox) -> None:
    run = Run(sandbox, sys.executable, "-c", LIMITED, preset="claude", parser="claude")
    run.request = run.request._replace(budget_usd=3.0)
    first = run.again().run(str)
    assert (first.status, first.cost_usd) == (RunStatus.RATE_LIMITED, 2.5)
    start_over(run.request.folder, first, first.session)
    outcome = run.again().run(str)
    assert (outcome.status, outcome.text, outcome.cost_usd, outcome.turns) == (RunStatus.OK, "done", 3.0, 6)
    assert outcome.tokens == Tokens(14, 6)
    assert outcome.earlier == first.ended - first.started
    assert json.loads((run.request.folder / "request.json").read_text())["budget_usd"] == 0.5


def _limited(run: Run) -> RunOutcome:
    outcome = run.attendance.run(str)
    assert outcome.status is RunStatus.RATE_LIMITED, json.dumps(outcome.to_json())
    assert outcome.error in (run.request.folder / "errors.log").read_text()
    return outcome


def test_a_stray_run_is_seen_by_all_who_look_at_once(tmp_path: Path) -> None:
    (tmp_path / place.SHIM).write_text("{}")
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(strays.is_stray, [tmp_path] * 2000))
