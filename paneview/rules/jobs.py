"""Jobs in a queue: what a result, a failure or a silent holder makes of one. Every broker decides by these rules.

::

               ┌──────── retried, handed back, lease lost ────────┐
               ▼                                                  │
    blocked ─▶ queued ◀─due─ delayed          ┌─ ok ──▶ done      │
       │         └────────claimed───────▶ leased ─ error ─────────┤ attempts left
       │                                      │                   └─ none left ─▶ dead
       └──────────── cancel, a need that died ┴──▶ cancelled

A claim gives a lease and a fencing token that grows by one each time, so a job's token names its last holder. The
time-out of a lease never needs two clocks: `overdue` is asked with the broker's own.

Lua does the same inside Redis (``paneview/broker/redis/lua``); the contract tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    """Can be claimed."""
    DELAYED = "delayed"
    """Not before a certain time: submitted so, or a retry that backs off."""
    BLOCKED = "blocked"
    """Needs other jobs to be done first."""
    LEASED = "leased"
    """Some worker holds it."""
    DONE = "done"
    """Has an accepted result."""
    DEAD = "dead"
    """Given up after its last attempt; a person may send it again."""
    CANCELLED = "cancelled"
    """Ended on request, or needs a job that died or was cancelled."""

    @property
    def final(self) -> bool:
        """Whether nothing happens to the job any more by itself."""
        return self in FINAL


FINAL = frozenset({JobState.DONE, JobState.DEAD, JobState.CANCELLED})
WAITING = frozenset({JobState.QUEUED, JobState.DELAYED, JobState.BLOCKED})
"""What a lane's depth counts."""


class Verdict(StrEnum):
    """The answer to a result that a worker brings."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    """It was accepted before, its reply lost: no error."""
    STALE = "stale"
    """Another holder came after, or a person cancelled: it changed nothing."""


def judge(state: JobState, token: int, brought: int, *, ok: bool) -> Verdict:
    """Whether a result counts that comes with the token ``brought`` for a job that now has ``token``.

    A result of the last holder counts even if its lease was lost meanwhile, as long as nobody else took the job:
    the work is done, and doing it again gains nothing. A failure then does not: losing the lease was told as
    one already.
    """
    if token != brought or state is JobState.CANCELLED:
        return Verdict.STALE
    if state is JobState.LEASED:
        return Verdict.ACCEPTED
    if state is JobState.DONE:
        return Verdict.ALREADY
    return Verdict.ACCEPTED if ok else Verdict.ALREADY


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long failed jobs wait: ``base`` seconds, then ``factor`` times longer after each failure."""

    base: float = 2.0
    factor: float = 2.0
    longest: float = 300.0
    jitter: float = 0.25
    """Up to this share is taken off by chance, so that jobs that failed together don't return together."""

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds before the attempt after the ``attempt``-th, from 1; ``chance`` in [0, 1) is jitter's dice."""
        try:
            wait = self.base * self.factor ** max(0, attempt - 1)
        except OverflowError:
            wait = self.longest
        return max(0.0, min(wait, self.longest)) * (1 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class Next:
    """What becomes of a job."""

    state: JobState
    delay: float = 0.0
    """Seconds, for ``delayed``."""


def after_error(
    attempts: int, limit: int, *, retry: bool, retry_in: float | None, backoff: Backoff, chance: float
) -> Next:
    """A handler said that it failed, in the ``attempts``-th attempt of at most ``limit``."""
    if not retry or attempts >= limit:
        return Next(JobState.DEAD)
    wait = backoff.delay(attempts, chance) if retry_in is None else max(0.0, retry_in)
    return Next(JobState.DELAYED, wait) if wait > 0 else Next(JobState.QUEUED)


def after_loss(attempts: int, limit: int, *, cancelled: bool) -> JobState:
    """The holder died or fell silent. At once again: whoever crashed the worker is counted by its attempts."""
    if cancelled:
        return JobState.CANCELLED
    return JobState.DEAD if attempts >= limit else JobState.QUEUED


def after_needs(states: Iterable[JobState | None], *, delayed: bool) -> JobState:
    """A job that needs others in these states (None: there is no such job)."""
    seen = set(states)
    if seen & {None, JobState.DEAD, JobState.CANCELLED}:
        return JobState.CANCELLED
    if seen - {JobState.DONE}:
        return JobState.BLOCKED
    return JobState.DELAYED if delayed else JobState.QUEUED


def overdue(now: float, renewed: float, seconds: float) -> bool:
    """Whether a lease has run out. A clock that now shows less than at the renewal began again: it has, too."""
    return now >= renewed + seconds or now < renewed


def renew_every(seconds: float) -> float:
    """How often to renew a lease of that length: two renewals may fail before it is lost."""
    return seconds / 3


def next_look(limit: float, *due: float | None) -> float:
    """Seconds to wait before looking again, ``limit`` at most, when things are due in so many seconds."""
    return max(0.0, min([limit, *(wait for wait in due if wait is not None)]))


def crash_looping(deaths: Sequence[float], now: float, limit: int, window: float) -> bool:
    """Whether a worker that died at these times is to be quarantined: ``limit`` deaths within ``window`` seconds."""
    return sum(now - window < death <= now for death in deaths) >= limit
