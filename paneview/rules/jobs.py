"""Jobs in a queue: what becomes of one after a result, a failure or a silent holder. All brokers use these rules.

::

               ┌──────── retried, handed back, lease lost ────────┐
               ▼                                                  │
    blocked ─▶ queued ◀─due─ delayed          ┌─ ok ──▶ done      │
       │         └────────claimed───────▶ leased ─ error ─────────┤ attempts left
       │                                      │                   └─ none left ─▶ dead
       └──────────── cancel, a need that died ┴──▶ cancelled

A claim gives a lease and a fencing token that grows by one each time, so a job's token identifies its last holder.
Whether a lease has expired never depends on two clocks: `overdue` is called with the broker's own.

Lua does the same inside Redis (``paneview/broker/redis/lua``); the contract tests keep the two consistent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    """Can be claimed."""
    DELAYED = "delayed"
    """Cannot be claimed before a certain time: submitted with a delay, or a retry that backs off."""
    BLOCKED = "blocked"
    """Needs other jobs to be done first."""
    LEASED = "leased"
    """Held by a worker."""
    DONE = "done"
    """Has an accepted result."""
    DEAD = "dead"
    """Given up after its last attempt; a person may send it again."""
    CANCELLED = "cancelled"
    """Ended on request, or needs a job that died or was cancelled."""

    @property
    def final(self) -> bool:
        """Whether the job stays in this state unless a person acts."""
        return self in FINAL


FINAL = frozenset({JobState.DONE, JobState.DEAD, JobState.CANCELLED})
WAITING = frozenset({JobState.QUEUED, JobState.DELAYED, JobState.BLOCKED})
"""The states that a lane's depth counts."""


class Verdict(StrEnum):
    """The answer to a worker that submits a result."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    """It was accepted before, but that reply was lost: no error."""
    STALE = "stale"
    """Another worker has claimed the job since, or a person cancelled it: the result changed nothing."""


def judge(state: JobState, token: int, brought: int, *, ok: bool) -> Verdict:
    """Whether a result with the token ``brought`` counts for a job whose token is now ``token``.

    A result of the last holder counts even if it has lost its lease, as long as no other worker has claimed the job:
    the work is done, and doing it again gains nothing. A failure does not count then: the loss of the lease has
    already been recorded as one.
    """
    if token != brought or state is JobState.CANCELLED:
        return Verdict.STALE
    if state is JobState.LEASED:
        return Verdict.ACCEPTED
    if state is JobState.DONE:
        return Verdict.ALREADY
    return Verdict.ACCEPTED if ok else Verdict.ALREADY


class Backoff(NamedTuple):
    """How long failed jobs wait: ``base`` seconds, then ``factor`` times longer after each failure."""

    base: float = 2.0
    factor: float = 2.0
    longest: float = 300.0
    jitter: float = 0.25
    """Up to this share of the wait is randomly taken off, so that jobs that failed together don't return together."""

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after the ``attempt``-th attempt, from 1; ``chance`` in [0, 1) is random, for the jitter."""
        try:
            wait = self.base * self.factor ** max(0, attempt - 1)
        except OverflowError:
            wait = self.longest
        return max(0.0, min(wait, self.longest)) * (1 - self.jitter * chance)


class Next(NamedTuple):
    """The next state of a job."""

    state: JobState
    delay: float = 0.0
    """Seconds, if it is ``delayed``."""


def after_error(
    attempts: int, limit: int, *, retry: bool, retry_in: float | None, backoff: Backoff, chance: float
) -> Next:
    """The next state of a job whose handler failed, in the ``attempts``-th of at most ``limit`` attempts.

    ``retry`` and ``retry_in`` are the handler's wishes; ``retry_in`` None means by ``backoff``.
    """
    if not retry or attempts >= limit:
        return Next(JobState.DEAD)
    wait = backoff.delay(attempts, chance) if retry_in is None else max(0.0, retry_in)
    return Next(JobState.DELAYED, wait) if wait > 0 else Next(JobState.QUEUED)


def after_loss(attempts: int, limit: int, *, cancelled: bool) -> JobState:
    """The state of a job whose holder died or fell silent: retried at once, since the lost attempt counts."""
    if cancelled:
        return JobState.CANCELLED
    return JobState.DEAD if attempts >= limit else JobState.QUEUED


def after_needs(states: Iterable[JobState | None], *, delayed: bool) -> JobState:
    """The state of a job that needs jobs in these states (None: there is no such job)."""
    seen = set(states)
    if seen & {None, JobState.DEAD, JobState.CANCELLED}:
        return JobState.CANCELLED
    if seen - {JobState.DONE}:
        return JobState.BLOCKED
    return JobState.DELAYED if delayed else JobState.QUEUED


def overdue(now: float, renewed: float, seconds: float) -> bool:
    """Whether a lease has expired; also if the clock shows less than at the renewal, because then it was reset."""
    return now >= renewed + seconds or now < renewed


def renew_every(seconds: float) -> float:
    """Seconds between renewals of a lease of this length: two of them may fail before it is lost."""
    return seconds / 3


def next_look(limit: float, *due: float | None) -> float:
    """Seconds until the earliest of ``due``, ``limit`` at most; None stands for nothing due."""
    return max(0.0, min([limit, *(wait for wait in due if wait is not None)]))


def crash_looping(deaths: Sequence[float], now: float, limit: int, window: float) -> bool:
    """Whether to quarantine a worker that died at these times: ``limit`` deaths within ``window`` seconds."""
    return sum(now - window < death <= now for death in deaths) >= limit
