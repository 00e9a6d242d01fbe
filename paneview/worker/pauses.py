"""Pauses of runners, which apply to all workers of a queue, and the limit on concurrent runs of a runner.

A pause is a flag in the broker: one for a rate limit ends at its reset, one for a missing login when a person ends it.
Jobs that come meanwhile are handed back with a delay, and released at once if the pause is ended by hand.

A *seat* is one of a runner's ``max_concurrent`` places. Seats are elections: taken and kept in one atomic step of the
broker, and free again some time after their holder died. They belong to the job, not to the worker, so that the next
worker that waits for the same agent keeps the seat.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paneview.agents.failures import FARTHEST
from paneview.broker import ALL, Claim, JobFilter, JobState, UnknownJobError

if TYPE_CHECKING:
    from paneview.agents.model import RunOutcome
    from paneview.broker import Broker
    from paneview.broker.model import Json, Leadership

SCOPE, WAITING, LIMITS, LOGINS = "runner", "runner-waits", "runner-limits", "runner-logins"
UNKNOWN_RESET = 60.0  # seconds of a first pause whose reset is unknown
SHORTEST = 0.5  # seconds of a first pause at least
LONGEST_GUESS = 1800.0  # seconds to which these two grow, doubling with each limit in a row
IN_A_ROW = 3600.0  # seconds after a pause within which another limit counts as in a row
LONGEST_WAIT = 3600.0  # seconds a job is put away at a time, at most
SEAT_TTL = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Pause:
    """The pause of a runner."""

    runner: str
    status: str
    """``rate_limited`` or ``auth``."""
    reason: str
    since: float
    until: float | None
    """Epoch seconds; None: until a person ends it."""
    host: str = ""

    @classmethod
    def of(cls, runner: str, flag: Mapping[str, Json]) -> Pause:
        """Read a pause from the broker's flag."""
        until = flag.get("until")
        return cls(
            runner, str(flag.get("status", "")), str(flag.get("reason", "")), float(flag.get("since") or 0.0),
            None if until is None else float(until), str(flag.get("host", "")),
        )  # fmt: skip

    def wait(self, now: float) -> float:
        """Seconds for which to put a job away, with jitter, so that not all return at once."""
        left = LONGEST_WAIT if self.until is None else max(0.0, self.until - now)
        return min(LONGEST_WAIT, left + random.uniform(0.1, max(0.5, min(30.0, left / 10))))  # noqa: S311 - no secret


def paused(broker: Broker) -> dict[str, Pause]:
    """Every runner that is paused. Raises BrokerError."""
    return {name: Pause.of(name, flag) for name, flag in broker.flags.all(SCOPE).items()}


def pause(broker: Broker, runner: str, outcome: RunOutcome, *, job: str, host: str) -> Pause:
    """Pause a runner because of a run's outcome; adds an event unless it is paused already. Raises BrokerError."""
    now = time.time()
    known = paused(broker).get(runner)
    until = None
    if outcome.status.value == "rate_limited":
        before = int(broker.flags.all(LIMITS).get(runner, {}).get("count") or 0)
        until = now + _length(outcome.reset_at, now, before)
        if known is None:  # otherwise other runs under way have hit the same limit
            broker.flags.set(LIMITS, runner, {"count": before + 1}, until - now + IN_A_ROW)
    else:
        broker.flags.set(LOGINS, job, {"runner": runner})  # until `resume`, as the pause itself
    made = Pause(runner, outcome.status.value, outcome.error, now, until, host)
    value = {"status": made.status, "reason": made.reason, "since": now, "until": until, "host": host}
    if known is None or known.until is not None:  # a pause that a person must end gets no end time
        broker.flags.set(SCOPE, runner, value, None if until is None else until - now)
    if known is None:
        broker.events.note("runner_paused", job=job, detail={"runner": runner, **value})
    return made


def _length(reset_at: float | None, now: float, before: int) -> float:
    """Seconds of a pause after ``before`` limits in a row.

    Resets in the past or years away are ignored: some providers report them, and the runner would be called again
    and again without a pause, or never.
    """
    growth = 2.0 ** min(before, 20)
    if reset_at is None or not now < reset_at <= now + FARTHEST:
        return min(LONGEST_GUESS, UNKNOWN_RESET * growth)
    return max(reset_at - now, min(LONGEST_GUESS, SHORTEST * growth))


def unlimited(broker: Broker, runner: str) -> None:
    """Note that a run succeeded: the next limit is the first in a row. Raises BrokerError."""
    broker.flags.clear(LIMITS, runner)


def put_away(broker: Broker, runner: str, job: str, delay: float) -> None:
    """Note that a job waits for a runner, so that `resume` finds it. Raises BrokerError."""
    broker.flags.set(WAITING, job, {"runner": runner}, delay + 60.0)


def resume(broker: Broker, runner: str) -> tuple[bool, list[str]]:
    """End a pause now and release the jobs that wait for it; returns whether there was one, and the jobs' ids."""
    there = broker.flags.clear(SCOPE, runner)
    for job, flag in broker.flags.all(LOGINS).items():
        if flag.get("runner") == runner:
            broker.flags.clear(LOGINS, job)
    waiting = {job for job, flag in broker.flags.all(WAITING).items() if flag.get("runner") == runner}
    delayed = broker.jobs(JobFilter(states=frozenset({JobState.DELAYED}), kind="phase", limit=ALL))
    released = []
    for job in (one.id for one in delayed if one.id in waiting):
        try:
            lease = broker.take(job, Claim(f"resume-{uuid.uuid4().hex[:12]}", ()))
        except UnknownJobError:
            continue
        if lease is not None and broker.release(lease, reason=f"runner {runner} resumed"):
            released.append(job)
        broker.flags.clear(WAITING, job)
    if there:
        broker.events.note("runner_resumed", detail={"runner": runner, "jobs": len(released)})
    return there, released


def logged_in(broker: Broker, jobs: Iterable[str]) -> None:
    """End the pauses of runners for which these jobs needed a login. Raises BrokerError."""
    known, pauses = broker.flags.all(LOGINS), paused(broker)
    for job in jobs:
        if (flag := known.get(job)) is None:
            continue
        found = pauses.pop(str(flag.get("runner")), None)
        if found is not None and found.until is None:
            resume(broker, found.runner)


class Seat:
    """A job's place among a runner's concurrent runs; ``most`` 0: no limit."""

    def __init__(self, broker: Broker, runner: str, most: int, job: str) -> None:
        self._broker = broker
        self._names = [f"runner/{runner}/{number}" for number in range(most)]
        self._job = job
        self._held: Leadership | None = None
        self._renew_at = 0.0

    def take(self) -> bool:
        """Take a seat or keep it; False if none is free. Raises BrokerError."""
        if not self._names:
            return True
        now = time.monotonic()
        if self._held is not None and now < self._renew_at:
            return True
        names = self._names if self._held is None else [self._held.name]
        for name in names:
            self._held = self._broker.lead(name, self._job, SEAT_TTL)
            if self._held is not None:
                self._renew_at = now + SEAT_TTL / 4
                return True
        return False

    def leave(self) -> None:
        """Free the seat. Raises BrokerError."""
        if self._held is not None:
            self._broker.resign(self._held)
            self._held = None
