"""The ``phase`` kind: one phase of a workflow, done by an agent.

The job says what is wanted: a prompt, a folder, a session to resume, a schema, a budget. What runs, and what it may do,
comes from the worker's own file, by the job's role. Any outcome becomes the job's output; the workflow's engine decides
what follows. Two outcomes are not delivered: a rate limit pauses the runner for all and puts the job away until it
ends; and an agent that was ended because its worker stops is resumed, in its session, by the next worker.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paneview.agents import folder as place
from paneview.agents.attending import Attendance, Ended, prune, start_over
from paneview.agents.model import RunOutcome, RunRequest, RunStatus
from paneview.agents.redact import PATTERNS
from paneview.broker import Broker, BrokerError, JobState, Outcome
from paneview.broker.model import Json
from paneview.config.errors import ConfigError
from paneview.config.workflows.roles import Agents, Runner, built_in_roles, built_in_runners
from paneview.worker.command import Command, Failure, HandBack
from paneview.worker.pauses import Seat, pause, paused, put_away, unlimited
from paneview.worker.prompt import allowed, inherited
from paneview.worker.setup import Identity, Setup

KEEP_DAYS = 30.0  # that a run's folder is kept
PRUNE_EVERY = 86_400.0  # seconds between two checks for older ones: a worker may live for months
SEAT_WAIT = 15.0  # seconds a job waits for a seat before it is handed back
SEAT_LOOK = 0.25  # seconds between two attempts to take one
SEAT_AGAIN = (2.0, 6.0)  # seconds, from and to, until a job handed back may be claimed again
_NOT_FOR_AGENTS = ("TMUX", "TMUX_PANE", "PANEVIEW_TASK", "PANEVIEW_REPLICA")
_TOOL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_SESSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A job's payload."""

    prompt: str
    workflow: str = ""
    phase: str = ""
    cwd: str = ""
    resume: str = ""
    schema: Mapping[str, Json] | None = None
    budget_usd: float | None = None
    allow: tuple[str, ...] = ()

    @classmethod
    def of(cls, payload: Json) -> Asked:
        """Read a payload. Raises `Failure` if it is invalid."""
        if not isinstance(payload, dict):
            raise Failure("a phase needs an object as payload", retry=False)
        texts = {name: payload.get(name) or "" for name in ("prompt", "workflow", "phase", "cwd", "resume")}
        for name, value in texts.items():
            if not isinstance(value, str) or (name != "prompt" and "\0" in value):
                raise Failure(f"{name} of a phase must be text", retry=False)
        if not texts["prompt"].strip():
            raise Failure("a phase needs a prompt", retry=False)
        if texts["resume"] and not _SESSION.fullmatch(texts["resume"]):
            raise Failure("resume is not the name of a session", retry=False)
        schema, budget = payload.get("schema"), payload.get("budget_usd")
        if schema is not None and not isinstance(schema, dict):
            raise Failure("schema of a phase must be an object", retry=False)
        if budget is not None and (
            isinstance(budget, bool) or not isinstance(budget, int | float) or budget <= 0
        ):
            raise Failure("budget_usd of a phase must be a number above 0", retry=False)
        allow = payload.get("allow") or []
        if not isinstance(allow, list) or not all(
            isinstance(one, str) and _TOOL.fullmatch(one) for one in allow
        ):
            raise Failure("allow of a phase must be a list of tools' names", retry=False)
        return cls(schema=schema, budget_usd=budget, allow=tuple(allow), **texts)


def read_agents(file: Path, environ: Mapping[str, str]) -> tuple[Agents, tuple[str, ...]]:
    """Runners, roles and the patterns of secrets' names from a file; fast if the file mentions none of them.

    Raises ConfigError.
    """
    try:
        content = file.read_bytes()
    except OSError:
        content = b"roles"  # so that `load_agents` reports what is wrong
    if not any(word in content for word in (b"runners", b"roles", b"secrets")):
        return Agents(built_in_runners(), built_in_roles()), PATTERNS
    from paneview.config.load import load_agents  # noqa: PLC0415 - the models take a while

    return load_agents(file, environ)


def roles_here(roles: Sequence[str], file: Path, environ: Mapping[str, str], host: str) -> tuple[str, ...]:
    """Those of the roles that the file allows on this host. Raises ConfigError."""
    agents, _ = read_agents(file, environ)
    return tuple(role for role in roles if not (hosts := agents.role(role).hosts) or host in hosts)


def runners_here(file: Path | None, environ: Mapping[str, str]) -> list[str]:
    """The names of all runners. Raises ConfigError."""
    return list(read_agents(file, environ)[0].runners if file else built_in_runners())


class Phases:
    """Does jobs of the kind ``phase``. ``stopping`` returns why the worker is stopping."""

    def __init__(
        self, setup: Setup, me: Identity, broker: Callable[[], Broker], stopping: Callable[[], str]
    ) -> None:
        self._setup = setup
        self._me = me
        self._broker = broker
        self._stopping = stopping
        self._reading = threading.Lock()
        self._read_at: float | None = None
        self._agents = Agents(built_in_runners(), built_in_roles())
        self.patterns: tuple[str, ...] = PATTERNS
        """Of the names of variables whose values are secret."""
        self._prune_at = 0.0  # monotonic

    def __call__(self, command: Command) -> Json | Outcome:
        """Have an agent do the phase. Raises `Failure`, `HandBack`."""
        asked = Asked.of(command.payload)
        role = command.job.target.role or self._setup.roles[0]
        runner, request = self._request(command, asked, role)
        seat = Seat(self._broker(), runner.name, runner.max_concurrent, command.id)
        if not (request.folder / place.REQUEST).exists():
            self._check_pause(command, runner.name)
            self._sit(command, seat, runner)
        try:
            outcome = self._run(command, runner, request, seat)
        finally:
            with suppress(BrokerError):  # it is free again in a minute; the outcome must not be lost
                seat.leave()
        brought = self._bring(command, runner, request, outcome)
        self._prune()
        return brought

    def load(self) -> str:
        """Read the file if it has changed; returns what is wrong with it if the earlier version stays in use, else "".

        Raises ConfigError if there is no earlier version.
        """
        file = self._setup.file
        if file is None:
            return ""
        try:
            changed = file.stat().st_mtime
        except OSError:
            changed = 0.0
        with self._reading:
            if changed != self._read_at:
                try:
                    self._agents, self.patterns = read_agents(file, self._setup.environ)
                except ConfigError as error:
                    if self._read_at is None:
                        raise
                    return str(error)  # being edited: the supervisor keeps using the earlier version, too
                self._read_at = changed
        return ""

    def warm_up(self) -> None:
        """Read the file ahead of the first job, which reports what is wrong with it."""
        with suppress(ConfigError):
            self.load()

    # Before

    def _request(self, command: Command, asked: Asked, role: str) -> tuple[Runner, RunRequest]:
        try:
            if broken := self.load():
                command.say(f"the file is broken, and used as it was: {broken}")
            runner = self._agents.runner(role, self._setup.runner)
        except ConfigError as error:
            raise Failure(f"the worker's file cannot be used: {error}") from error
        except KeyError as error:
            raise Failure(f"{error.args[0]!r} is not a runner here", retry=False) from None
        folders = (*self._setup.folders(), Path(os.path.realpath(place.worktrees_dir(self._setup.state))))
        cwd = allowed(asked.cwd, folders, "cwd") if asked.cwd else Path.cwd()
        described = self._agents.role(role)
        approvals = described.approvals
        if approvals is None:
            approvals = self._broker().url.startswith("sqlite")
        own = {
            "PANEVIEW_JOB": command.id,
            "PANEVIEW_WORKFLOW": asked.workflow,
            "PANEVIEW_PHASE": asked.phase,
            "PANEVIEW_ROLE": role,
        }
        kept = {
            name: value
            for name, value in inherited(self._setup.environ).items()
            if name not in _NOT_FOR_AGENTS
        }
        request = RunRequest(
            run=command.id, prompt=asked.prompt, cwd=cwd, folder=place.run_folder(self._setup.state, command.id),
            permissions=described.permissions,
            allow=asked.allow if approvals else (),
            resume=asked.resume, schema=asked.schema,
            budget_usd=asked.budget_usd, env={**kept, **own},
        )  # fmt: skip
        return runner._replace(timeout=min(runner.timeout, command.timeout)), request

    def _check_pause(self, command: Command, runner: str) -> None:
        found = paused(self._broker()).get(runner)
        if found is not None:
            self._put_away(
                command, runner, f"runner {runner} is paused: {found.reason}", found.wait(time.time())
            )

    def _put_away(self, command: Command, runner: str, reason: str, delay: float) -> None:
        put_away(self._broker(), runner, command.id, delay)
        raise HandBack(reason, delay)

    def _sit(self, command: Command, seat: Seat, runner: Runner) -> None:
        until = time.monotonic() + SEAT_WAIT
        while not seat.take():
            if time.monotonic() > until or command.wait(SEAT_LOOK):
                words = f"{runner.max_concurrent} runs of {runner.name} are under way, as many as may be"
                raise HandBack(words, random.uniform(*SEAT_AGAIN))  # noqa: S311 - no secret

    # During

    def _run(self, command: Command, runner: Runner, request: RunRequest, seat: Seat) -> RunOutcome:
        command.say(
            f"{runner.name} as {request.env['PANEVIEW_ROLE']}, {_RIGHTS[request.permissions]}, in {request.cwd}"
        )
        attendance = Attendance(runner, request, command.say)
        try:
            with command.on_cancel(attendance.wake):
                return attendance.run(lambda: self._wish(command, seat), self.patterns)
        except Ended:
            raise Failure("the agent is left at work") from None
        except OSError as error:
            raise Failure(f"the run cannot begin: {error}") from error

    def _wish(self, command: Command, seat: Seat) -> str:
        """What to do with the agent: "" (go on), "end" or "leave" (running)."""
        match command.reason:
            case None:
                with suppress(BrokerError):  # the broker is away: the job's lease is what counts
                    seat.take()
                return ""
            case "lost":
                return "leave" if self._is_ours(command) else "end"
            case "stopping" if self._stopping() == "SIGHUP":
                return "leave"  # only the terminal is gone: the next worker waits for the agent
        return "end"

    def _is_ours(self, command: Command) -> bool:
        """Whether the job's current or next holder may be on this host, and so could wait for the same agent."""
        try:
            broker = self._broker()
            job = broker.job(command.id)
            here = {view.worker.id for view in broker.workers.all(host=self._me.host)}
        except BrokerError:
            return True
        if job is None or job.state.final:
            return False
        return job.state is not JobState.LEASED or job.owner in here

    # After

    def _prune(self) -> None:
        """Remove old folders; after a job, since an earlier attempt of it may have left one that is that old."""
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + PRUNE_EVERY
            prune(self._setup.state, KEEP_DAYS, time.time())

    def _bring(
        self, command: Command, runner: Runner, request: RunRequest, outcome: RunOutcome
    ) -> Json | Outcome:
        match outcome.status:
            case RunStatus.OK:
                with suppress(BrokerError):  # the result must not be lost because of this
                    unlimited(self._broker(), runner.name)
            case RunStatus.RATE_LIMITED:
                made = pause(self._broker(), runner.name, outcome, job=command.id, host=self._me.host)
                # A run that has done something resumes its session; others start over.
                start_over(request.folder, outcome, outcome.session if (outcome.turns or 0) > 1 else "")
                self._put_away(command, runner.name, f"rate limited: {outcome.error}", made.wait(time.time()))
            case RunStatus.AUTH:
                pause(self._broker(), runner.name, outcome, job=command.id, host=self._me.host)
            case RunStatus.CANCELLED if command.reason == "stopping":
                start_over(request.folder, outcome, outcome.session)
                raise Failure("the worker ends")
            case RunStatus.CANCELLED if command.reason == "cancel":
                return Outcome("cancelled", output=outcome.to_json(), error="cancelled")
            case RunStatus.CANCELLED if command.reason == "timeout":
                outcome = outcome._replace(
                    status=RunStatus.TIMEOUT, error="it took longer than its job allows"
                )
        return outcome.to_json()


_RIGHTS = {"read": "may read", "edit": "may edit", "full": "MAY DO ANYTHING"}
