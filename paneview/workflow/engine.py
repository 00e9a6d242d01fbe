"""The engine: applies events to workflows and carries out the effects. Blocking; any thread may use it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from paneview.agents import strays
from paneview.broker import (
    BadJobError,
    Broker,
    BrokerError,
    ConflictError,
    Event,
    Job,
    Leadership,
    StaleLeaderError,
    UnknownJobError,
)
from paneview.rules.workflow import Plan, Status, Workflow, begin, due, effects, events, wake_at
from paneview.workflow import git, runs, shell
from paneview.workflow.git import GitError
from paneview.workflow.home import Home
from paneview.workflow.places import Places, environment
from paneview.workflow.shelf import Shelf, Told, UnknownWorkflowError
from paneview.workflow.shell import Shell
from paneview.workflow.turns import Turns, Unwanted
from paneview.workflow.views import job_id, read_job_id

logger = logging.getLogger(__name__)

THREADS = 8  # for slow work (verifications, worktrees), and as many for ending agents
LEAD = 10.0  # seconds for which the lead is taken
LOOK_AT_JOBS = 10.0  # seconds between two checks of jobs whose end may have been missed
_NAME = re.compile(r"[^A-Za-z0-9_]+")


class Engine:
    """The engine of one home. ``told`` is called with every change seen here."""

    def __init__(self, broker: Broker, home: Home, told: Told) -> None:
        self.broker = broker
        self.home = home
        self.shelf = Shelf(broker, told)
        self.leader: Leadership | None = None
        self._me = f"{home.name}:{home.folder}"
        self._shell = Shell(home.environ, home.masker.text)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="workflow")
        # A pool of its own, because an agent goes on working until its turn to be ended comes.
        self._enders = ThreadPoolExecutor(THREADS, thread_name_prefix="stray")
        self._lock = threading.Lock()
        self._places = Places(self.home.worktrees, Turns())
        self._in_hand: set[tuple[str, effects.Effect]] = set()
        self._strays: set[str] = set()  # the jobs whose agents are being ended
        self._looked = -LOOK_AT_JOBS

    # Requests of people

    def ask(self, task: str, plan: Plan, cwd: str, by: str, key: str = "") -> Workflow:
        """Start a workflow and return it; with a ``key`` used before, return that workflow instead.

        Raises BrokerError, OSError if the folder does not exist.
        """
        folder = os.path.realpath(cwd)
        if not os.path.isdir(folder):
            raise NotADirectoryError(20, "is not a folder", cwd)
        tail = hashlib.sha256(key.encode()).hexdigest()[:8] if key else secrets.token_hex(4)
        name = f"{_NAME.sub('_', plan.name)[:24]}-{tail}"
        task = self.home.masker.text(task)
        flow = begin(name, plan, task, cwd=folder, home=self.home.name, by=by, now=time.time())
        if plan.isolation == "none":
            flow = replace(flow, place=runs.beginning(flow, self.home.folder))
        self.lead()
        try:
            self.shelf.add(flow)
        except ConflictError:
            if not key:
                raise
        return self.tell(flow.id, events.Begun(), anew=True)

    def tell(self, name: str, event: events.Event, *, anew: bool = False) -> Workflow:
        """Apply an event to a workflow and begin what follows; returns the new state. Raises BrokerError."""
        try:
            before, after = self.shelf.change(name, event, self.leader)
        except StaleLeaderError:
            self.leader = None
            before, after = self.shelf.change(name, event)
        if after != before or anew:
            self.advance(after)
        return after

    # Effects

    def lead(self) -> bool:
        """Become or stay the leader that advances this home's workflows; returns whether we are."""
        self.leader = self.broker.lead(f"workflows {self.home.name}", self._me, LEAD)
        return self.leader is not None

    def resign(self) -> None:
        """Give up the lead, so that another process can take it at once."""
        if self.leader is not None:
            self.broker.resign(self.leader)
            self.leader = None

    def _leads(self, flow: Workflow) -> bool:
        return self.leader is not None and flow.home == self.home.name

    def advance(self, flow: Workflow) -> None:
        """Begin all effects that are due and not begun, and call off those no longer due."""
        if not self._leads(flow):
            return
        with self._lock:
            # Another thread may have changed it meanwhile: effects of that change must not be called off.
            flow = self.shelf.remembered(flow.id) or flow
            wanted = due(flow)
            for one in [one for one in self._in_hand if one[0] == flow.id and one[1] not in wanted]:
                self._in_hand.discard(one)
                self._call_off(*one)
            new = [effect for effect in wanted if (flow.id, effect) not in self._in_hand]
            self._in_hand |= {(flow.id, effect) for effect in new}
        for effect in sorted(new, key=repr):
            if isinstance(effect, effects.Run | effects.Withdraw):
                self._do(flow, effect)
            else:
                self._pool.submit(self._do, flow, effect)

    def _call_off(self, name: str, effect: effects.Effect) -> None:
        if isinstance(effect, effects.Verify):
            self._shell.stop(_check_name(name, effect))
        elif isinstance(effect, effects.Prepare):
            self._shell.stop(f"setup-{name}")

    def _wanted(self, flow: Workflow, effect: effects.Effect) -> bool:
        """Whether an effect is still wanted: it may have been called off while it waited for its turn."""
        with self._lock:
            return (flow.id, effect) in self._in_hand and not self._shell.closed

    def _due(self, flow: Workflow, effect: effects.Effect) -> bool:
        """`_wanted`, and not done by another supervisor while this process was stopped. Raises BrokerError."""
        return self._wanted(flow, effect) and effect in due(self.shelf.get(flow.id))

    def _do(self, flow: Workflow, effect: effects.Effect) -> None:
        """Carry out an effect; if it fails, the next look round begins it again."""
        if not self._wanted(flow, effect):
            return
        try:
            with git.while_wanted(lambda: self._wanted(flow, effect), _LIMITS.get(type(effect), git.TIMEOUT)):
                _DOERS[type(effect)](self, flow, effect)
        except Unwanted:
            self._drop(flow, effect)
        except BrokerError as error:
            logger.warning("workflow %s: %s: %s", flow.id, type(effect).__name__.lower(), error)
            self._drop(flow, effect)
        except Exception:
            logger.exception("workflow %s: %s failed", flow.id, type(effect).__name__.lower())
            self._drop(flow, effect)

    def _drop(self, flow: Workflow, effect: effects.Effect) -> None:
        with self._lock:
            self._in_hand.discard((flow.id, effect))

    def _run(self, flow: Workflow, effect: effects.Run) -> None:
        job = self.broker.job(job_id(flow.id, effect.phase, effect.attempt)) if effect.attempt > 0 else None
        if job is None:
            try:
                runs.submit(self.broker, self.home, flow, effect)
            except BadJobError as error:  # no later attempt would succeed
                why = f"its job cannot be queued: {error}"
                self.tell(flow.id, events.Ran(effect.phase, effect.attempt, "failed", error=why))
        else:
            self._collect(flow, effect)

    def _collect(self, flow: Workflow, run: effects.Run) -> None:
        job = self.broker.job(job_id(flow.id, run.phase, run.attempt))
        if job is None:  # it was removed, or the broker has lost it
            self._drop(flow, run)
            return
        folder = runs.stray(self.home, job)
        if folder is None:
            self._take_in(flow, run, job)
            return
        with self._lock:
            if job.id in self._strays:
                return
            self._strays.add(job.id)
        self._enders.submit(self._end_stray, flow, run, job, folder)

    def _end_stray(self, flow: Workflow, run: effects.Run, job: Job, folder: Path) -> None:
        """End a stray agent, then collect the run: until it is gone, it still works in the workflow's place."""
        try:
            with _one_flow(flow.id):
                strays.end([folder])
                self._take_in(flow, run, job)
        except BrokerError as error:  # it will be checked again
            logger.warning("workflow %s: the end of a stray agent is not taken in yet: %s", flow.id, error)
        finally:
            with self._lock:
                self._strays.discard(job.id)

    def _take_in(self, flow: Workflow, run: effects.Run, job: Job) -> None:
        if event := runs.collect(self.home, flow, run, job):
            after = self.tell(flow.id, event)
            isolated = after.plan.isolation == "worktree" and after.status is not Status.CLOSING
            if isolated and flow.plan.phases[run.phase].edits:
                self._pool.submit(self._find_conflicts, after.id)
        elif job.leased_at is not None and job.state.value == "leased":
            self.tell(flow.id, events.Claimed(run.phase, run.attempt))

    def _withdraw(self, flow: Workflow, effect: effects.Withdraw) -> None:
        name = job_id(flow.id, effect.phase, effect.attempt)
        try:
            self.broker.cancel(name, flow.reason or "its workflow is cancelled")
        except UnknownJobError:
            self.tell(flow.id, events.Ran(effect.phase, effect.attempt, "cancelled"))
        else:
            self._collect(flow, effects.Run(effect.phase, effect.attempt))

    def _verify(self, flow: Workflow, effect: effects.Verify) -> None:
        plan = flow.plan.phases[effect.phase]
        name, env = _check_name(flow.id, effect), environment(flow, flow.place)
        code, tail = self._shell.run(plan.verify, runs.folder_of(flow), name, plan.verify_timeout, env)
        if not self._shell.closed:
            self.tell(flow.id, events.Verified(effect.phase, effect.attempt, code, tail))

    def _prepare(self, flow: Workflow, effect: effects.Prepare) -> None:
        if flow.plan.isolation != "worktree":
            self.tell(flow.id, events.Begun())
            return
        taken = _ports(other for other in self.shelf.all() if other.id != flow.id)
        try:
            place = self._places.make(flow, self._shell, taken, lambda: self._due(flow, effect))
        except (GitError, OSError) as error:
            event = events.Prepared(self.home.masker.text(str(error)))
        else:
            event = events.Prepared(place=place)
        if not self._shell.closed:
            self.tell(flow.id, event)

    def _close(self, flow: Workflow, effect: effects.Close) -> None:
        place = self._places.close(flow, lambda: self._due(flow, effect))
        with suppress(GitError, OSError):  # what was found while it ran stays
            closed = replace(flow, place={**flow.place, **place})
            place["conflicts"] = self._places.conflicts(closed, self.shelf.all())
        self.tell(flow.id, events.Closed(place))

    def _find_conflicts(self, name: str) -> None:
        try:
            flows = {flow.id: flow for flow in self.shelf.all()}
            if name in flows and flows[name].place.get("open"):
                with git.while_wanted(lambda: not self._shell.closed):
                    found = self._places.conflicts(flows[name], flows.values())
                self.tell(name, events.Noted({"conflicts": found}))
        except (BrokerError, GitError, OSError, Unwanted) as error:
            logger.warning("workflow %s: its conflicts could not be looked for: %s", name, error)

    # The broker's events

    def hear(self, event: Event) -> None:
        """Handle an event of the broker's feed. Raises BrokerError."""
        if event.kind == "workflow_changed":
            name, version = str(event.detail.get("name")), int(event.detail.get("version") or 0)
            with suppress(UnknownWorkflowError):  # already removed
                self.advance(self.shelf.heard(name, version))
            return
        found = read_job_id(event.job) if event.kind in _OF_JOBS else None
        if found is None:
            return
        name, phase, attempt = found
        flow = self.shelf.remembered(name)
        if flow is None or not self._leads(flow) or phase >= len(flow.plan.phases):
            return
        with _one_flow(name):
            if event.kind == "job_claimed":
                self.tell(name, events.Claimed(phase, attempt))
            elif event.kind == "job_released":
                reason = str(event.detail.get("reason") or "") if event.detail.get("delay") else ""
                self.tell(name, events.HandedBack(phase, attempt, self.home.masker.text(reason)))
            else:
                self._collect(flow, effects.Run(phase, attempt))

    def look_round(self) -> float | None:
        """Do what is due and find what was missed; returns the seconds until something is due. Raises BrokerError."""
        now = time.time()
        thorough = time.monotonic() - self._looked > LOOK_AT_JOBS
        if thorough:
            self._looked = time.monotonic()
        following: list[float] = []
        for flow in self.active():
            with _one_flow(flow.id):
                if (at := self._look_at(flow, now, thorough=thorough)) is not None:
                    following.append(at - now)
        return min(following, default=None)

    def _look_at(self, flow: Workflow, now: float, *, thorough: bool) -> float | None:
        """Advance a workflow; returns when it is due again on its own (epoch seconds), or None."""
        at = wake_at(flow)
        if at is not None and at <= now:
            flow = self.tell(flow.id, events.Ticked())
            at = wake_at(flow)
        self.advance(flow)
        if thorough:
            for effect in due(flow):
                if isinstance(effect, effects.Run | effects.Withdraw):
                    self._collect(flow, effects.Run(effect.phase, effect.attempt))
        return at

    def end_left(self) -> None:
        """End commands of a killed supervisor: not all of them are begun again, for one if it was cancelled since."""
        mine = {flow.id for flow in self.shelf.all() if flow.home == self.home.name}
        for name in shell.left() if mine else ():
            what, _, rest = name.partition("-")
            found = (read_job_id(rest) or ("",))[0] if what == "verify" else rest
            with self._lock:
                begun = any(flow == found for flow, _ in self._in_hand)
            if found in mine and not begun:
                shell.end_left(name)

    def missed(self) -> None:
        """Note that events may have been missed, so that the next look round checks every job."""
        self._looked = -LOOK_AT_JOBS

    def active(self) -> list[Workflow]:
        """This home's workflows that are not over."""
        return [flow for flow in self.shelf.all() if not flow.status.final and flow.home == self.home.name]

    def take(self, home: Home) -> None:
        """Use a new `Home` after the project's file has changed."""
        self.home = home
        self._shell.environ, self._shell.mask = home.environ, home.masker.text

    def close(self) -> None:
        """End the commands running here; a successor begins them again."""
        self._shell.close()
        for pool in (self._enders, self._pool):
            pool.shutdown(wait=True, cancel_futures=True)


def _check_name(flow: str, effect: effects.Verify) -> str:
    return f"verify-{job_id(flow, effect.phase, effect.attempt)}"


def _ports(flows: Iterable[Workflow]) -> list[int]:
    """The ports of those that are not over."""
    return [
        port for flow in flows if not flow.status.final for port in (flow.place.get("ports") or {}).values()
    ]


@contextmanager
def _one_flow(name: str) -> Iterator[None]:
    """Log errors in one workflow, so that they don't stop the others. A BrokerError, which concerns all, is raised."""
    try:
        yield
    except BrokerError:
        raise
    except Exception:
        logger.exception("workflow %s: it could not be taken on", name)


_OF_JOBS = ("job_claimed", "job_released", "job_done", "job_dead", "job_cancelled")
_LIMITS = {effects.Prepare: git.LONGEST, effects.Close: git.LONGEST}
_DOERS: dict[type, Callable[..., None]] = {
    effects.Run: Engine._run,
    effects.Withdraw: Engine._withdraw,
    effects.Verify: Engine._verify,
    effects.Prepare: Engine._prepare,
    effects.Close: Engine._close,
}
