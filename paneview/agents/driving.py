"""A run from the shim's side: its processes one after another, and its outcome.

If an agent stalled, or ended without a result or with one that does not fit the schema, it is resumed once, in its own
session, with the reason as its prompt.
"""

from __future__ import annotations

import errno
import json
import os
import select
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from paneview import proc
from paneview.agents import folder as place
from paneview.agents.failures import classify, is_session_gone, reset_time
from paneview.agents.fitting import NoJson, find_json, misfits
from paneview.agents.model import RunOutcome, RunRequest, RunStatus
from paneview.agents.parsing import MOST_TEXT, Parser, last_words
from paneview.agents.presets import preset_of, reader_of
from paneview.agents.process import Process, adopt_orphans, end_left
from paneview.agents.redact import Redactor, secrets_of
from paneview.agents.shim import Started, Told, start
from paneview.agents.showing import Book
from paneview.config.workflows.roles import Runner
from paneview.rules.runs import Limits, Watch

AGAIN = frozenset({RunStatus.STALLED, RunStatus.NO_RESULT})
MOST_MISFITS = 20
MOST_ERROR = 500  # characters
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # full disk, quota, maximum file size
AGAIN_AFTER = 1.0  # seconds until a write without space is retried
_WAITED = frozenset({"stalled", "timeout"})
_ENDED = {
    "cancelled": (RunStatus.CANCELLED, "it was cancelled"),
    "timeout": (RunStatus.TIMEOUT, "it took longer than allowed"),
    "stalled": (RunStatus.STALLED, "it was silent for longer than allowed"),
    "budget": (RunStatus.BUDGET, "it spent more than allowed"),
}
_WORDS = {
    RunStatus.STALLED: "Your work was interrupted: you had been silent for too long.",
    RunStatus.NO_RESULT: "Your last turn ended without a result that can be used: {error}.",
}
GO_ON = "Go on from where you are, finish the task you were given, and end with its result."


def drive(folder: str, asked: Mapping[str, Any], started: Started | OSError, told: Told) -> None:
    """Do a run; ``started`` is its first process, or the error if it could not be started."""
    began = time.time() if isinstance(started, OSError) else started.at
    run = None
    adopt_orphans()
    try:
        run = _Run(Path(folder), asked, told, began)
        outcome = run.attempts(started)
    except Exception as error:  # reported as an outcome: a lost run would be paid for twice
        # Perhaps nothing watches the agent yet, and nothing else would end it.
        end_left(lambda: proc.ProcessTable.read().members(None, asked["marker"]))
        if run is None:
            raise
        # Its traceback; to import `traceback` for it would keep every run waiting.
        sys.excepthook(type(error), error, error.__traceback__)
        outcome = run.broken(error)
    run.conclude(outcome)


def request_of(folder: Path, asked: Mapping[str, Any]) -> RunRequest:
    """The request, as far as it was stored on disk."""
    return RunRequest(
        run=asked["run"], prompt="", cwd=Path(asked["cwd"]), folder=folder, permissions=asked["permissions"],
        allow=tuple(asked["allow"]),
        resume=asked["resume"], schema=asked["schema"], budget_usd=asked["budget_usd"],
    )  # fmt: skip


def runner_of(asked: Mapping[str, Any]) -> Runner:
    """The runner, without its environment."""
    given = asked["runner"]
    return Runner(**{**given, "argv": tuple(given["argv"]), "args": tuple(given["args"]), "env": {}})


class _Run:
    def __init__(self, folder: Path, asked: Mapping[str, Any], told: Told, began: float) -> None:
        self._folder = folder
        self._request = request_of(folder, asked)
        self._runner = runner_of(asked)
        self._preset = preset_of(self._runner)
        self._marker = asked["marker"]
        self._redactor = Redactor(secrets_of(os.environ, asked["patterns"]))
        self._book = Book(folder, self._redactor)
        self._log_from = int(asked.get("log_from", 0))
        self._told = told
        self._began = began
        self._limits = Limits(asked["timeout"], self._runner.stall_timeout, self._runner.linger)
        self._ends_at = time.monotonic() + asked["timeout"]
        self._resumed = 0
        self._session = ""

    def attempts(self, started: Started | OSError) -> RunOutcome:
        """Do all processes of the run; returns the outcome of the last, with the usage of all."""
        outcome = self._attempt(started, self._request.resume)
        while outcome.status in AGAIN and self._may_go_on(outcome):
            self._resumed += 1
            words = _WORDS[outcome.status].format(error=outcome.error)
            self._book.line(json.dumps({"type": "paneview", "resumed": self._resumed, "why": outcome.error}))
            again = self._attempt(self._start(f"{words} {GO_ON}\n", outcome.session), outcome.session)
            outcome = again.after(outcome)
        return outcome

    def broken(self, error: Exception) -> RunOutcome:
        """The outcome of a run that a bug in paneview ended."""
        words = f"a defect of paneview ended it: {error!r}"[:MOST_ERROR]
        return RunOutcome(RunStatus.FAILED, error=words, session=self._session)

    def _may_go_on(self, outcome: RunOutcome) -> bool:
        left = self._ends_at - time.monotonic()
        return (
            self._preset.RESUMES
            and bool(outcome.session)
            and self._resumed == 0
            and left > 0
            and not self._told.to_end
        )

    def _start(self, prompt: str, session: str) -> Started | OSError:
        argv = self._preset.argv(self._runner, self._request._replace(resume=session))
        try:
            place.write(self._folder / place.PROMPT, prompt)
            return start(argv, os.fspath(self._folder / place.PROMPT), os.fspath(self._request.cwd))
        except OSError as error:
            return error

    def _attempt(self, started: Started | OSError, session: str) -> RunOutcome:
        if isinstance(started, OSError):
            words = f"{self._runner.name} cannot be started: {started.strerror or started}"
            return RunOutcome(RunStatus.FAILED, error=words)
        parser = reader_of(self._runner)
        agent = proc.identify(started.pid)
        process = Process(
            started, parser, self._book, marker=self._marker, told=self._told, note=partial(self._note, agent)
        )
        self._note(agent, session)
        self._mask_prompt()
        watch = process.run(self._limits, self._ends_at, self._request.budget_usd)
        if self._preset.LOG:
            self._read_log(parser)
        outcome = parser.end(process.code, process.errors)
        if session and outcome.status is RunStatus.FAILED and not outcome.text:
            gone = is_session_gone(f"{outcome.error}\n{last_words(process.errors)}")
            outcome = outcome._replace(session="", session_gone=True) if gone else outcome
        return self._judge(outcome, watch, process.complaint, concluded=parser.concluded)

    def _read_log(self, parser: Parser) -> None:
        with suppress(FileNotFoundError):
            log = (self._folder / self._preset.LOG).read_bytes()
            parser.log(log[self._log_from :].decode("utf-8", "replace"))

    def _judge(self, outcome: RunOutcome, watch: Watch, complaint: str, *, concluded: bool) -> RunOutcome:
        if watch.why in _WAITED and complaint and not concluded:  # it was retrying its provider endlessly
            reset_at = outcome.reset_at or reset_time(complaint, time.time())
            error = complaint[-MOST_ERROR:]
            return outcome._replace(status=classify(complaint), error=error, reset_at=reset_at)
        if watch.why in _ENDED and not concluded:
            status, error = _ENDED[watch.why]
            return outcome._replace(status=status, error=error)
        if outcome.ok and self._request.schema is not None:
            outcome = fitted(outcome, self._request.schema)
        return bounded(outcome)

    def _note(self, agent: proc.ProcessId | None, session: str) -> None:
        """Record the processes and the session of this run, for a worker that finds the folder without a shim."""
        self._session = session
        me = proc.identify(os.getpid())
        assert me
        note = {"pid": me.pid, "start": me.start, "boot": proc.boot_id(), "agent": agent}
        more = {"session": session, "resumed": self._resumed, "started": self._began}
        with suppress(OSError):  # a full disk; the note is only needed if the shim is killed
            place.write_json(self._folder / place.SHIM, note | more)

    def _mask_prompt(self) -> None:
        """Mask secrets in the stored prompt; the agent still has the original file open."""
        file = self._folder / place.PROMPT
        text = _read(file)
        if (masked := self._redactor.text(text)) != text:
            try:
                place.write(file, masked)
            except OSError:
                file.unlink()

    def conclude(self, outcome: RunOutcome) -> None:
        """Write the outcome, waiting as long as the disk is full: the run has been paid for."""
        outcome = place.with_earlier(self._folder, outcome)
        logs = (self._preset.LOG,) if self._preset.LOG else ()
        files = [name for name in (*Book.FILES, place.PROMPT, *logs) if (self._folder / name).exists()]
        whole = outcome._replace(
            started=self._began, ended=time.time(), resumed=self._resumed, files=tuple(files)
        )
        redacted = self._redactor.json(whole.to_json())
        # The session's name is needed to resume it, and is not a secret, whatever it looks like.
        redacted |= {"session": outcome.session, "files": list(files), "status": outcome.status.value}
        while True:
            try:
                place.write_json(self._folder / place.OUTCOME, redacted, durable=True)
            except OSError as error:
                if self._told.to_end or error.errno not in FULL:
                    raise
                select.select([self._told.bell], [], [], AGAIN_AFTER)
            else:
                return


def fitted(outcome: RunOutcome, schema: Mapping[str, Any]) -> RunOutcome:
    """The outcome with its result as JSON if that fits the schema; otherwise without a result."""
    data = outcome.data
    if data is None:
        try:
            data = find_json(outcome.text)
        except NoJson as error:
            return outcome._replace(status=RunStatus.NO_RESULT, error=f"its result must be JSON: {error}")
    wrong = [sentence for sentence, _ in zip(misfits(data, schema), range(MOST_MISFITS), strict=False)]
    if wrong:
        words = "its result does not fit the schema: " + "; ".join(wrong)
        return outcome._replace(status=RunStatus.NO_RESULT, error=words, data=None)
    return outcome._replace(data=data)


def bounded(outcome: RunOutcome) -> RunOutcome:
    """The outcome, without its JSON result if that is too large (a text is cut to its end instead)."""
    if outcome.data is None or (size := len(json.dumps(outcome.data))) <= MOST_TEXT:
        return outcome
    if not outcome.ok:
        return outcome._replace(data=None)
    words = f"its result is too large: {size} characters of JSON, and {MOST_TEXT} at most"
    return outcome._replace(status=RunStatus.NO_RESULT, error=words, data=None)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""
