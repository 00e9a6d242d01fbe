"""How long an agent's run may go on, and how it is ended: pure, over the clock of whoever asks.

A run is ended when its time is up, when it has been silent for too long, when somebody wants it, or when it does not go
away after its own last event. First SIGINT, which agents understand as a person's Ctrl-C; then SIGTERM; then SIGKILL,
again until it is gone. Silence that the agent has announced, since it waits before it asks its provider again, does
not count: a run that would recover is left to do so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Why = Literal["", "cancelled", "timeout", "stalled", "budget", "over"]
Signal = Literal["INT", "TERM", "KILL"]
PATIENCE = 1.0  # seconds between two signals
AGAIN = 0.25  # seconds between two SIGKILLs
NEVER = float("inf")
_STEPS: tuple[tuple[Signal, float], ...] = (("INT", PATIENCE), ("TERM", PATIENCE), ("KILL", AGAIN))


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    timeout: float
    stall: float
    """0: it may be silent for ever."""
    linger: float


@dataclass(frozen=True, slots=True)
class Watch:
    """A run under way. All times are of one monotonic clock."""

    ends_at: float
    silent_until: float
    """Silence may last until then."""
    gone_by: float = NEVER
    """It has said its last word, and is to be gone by then."""
    why: Why = ""
    """Why it is being ended; empty: it is not."""
    step: int = 0
    next_at: float = NEVER
    """When the next signal is due."""


def begin(limits: Limits, now: float, ends_at: float | None = None) -> Watch:
    """A process has started; ``ends_at``: when the run, of which it may not be the first process, is to be over."""
    return Watch(now + limits.timeout if ends_at is None else ends_at, _silence(limits, now, 0.0))


def _silence(limits: Limits, now: float, patience: float) -> float:
    return now + limits.stall + patience if limits.stall > 0 else NEVER


def heard(watch: Watch, limits: Limits, now: float, patience: float = 0.0) -> Watch:
    """It said something; ``patience``: how many seconds it means to be silent now."""
    return replace(watch, silent_until=_silence(limits, now, patience))


def concluded(watch: Watch, limits: Limits, now: float) -> Watch:
    """Its last event has come; what it does now is tidying up."""
    return watch if watch.gone_by < NEVER else replace(watch, gone_by=now + limits.linger)


def stop(watch: Watch, why: Why, now: float) -> Watch:
    """End it. The first reason counts; an empty one changes nothing."""
    return watch if watch.why or not why else replace(watch, why=why, next_at=now)


def due(watch: Watch) -> float:
    """When to `tick` at the latest."""
    if watch.why:
        return watch.next_at
    if watch.gone_by < NEVER:
        return min(watch.gone_by, watch.ends_at)
    return min(watch.ends_at, watch.silent_until)


def tick(watch: Watch, now: float) -> tuple[Watch, Signal | None]:
    """Time has passed: the signal to send now, if any."""
    if not watch.why:
        watch = stop(watch, _reason(watch, now), now)
    if not watch.why or now < watch.next_at:
        return watch, None
    signal, wait = _STEPS[min(watch.step, len(_STEPS) - 1)]
    return replace(watch, step=watch.step + 1, next_at=now + wait), signal


def _reason(watch: Watch, now: float) -> Why:
    if watch.gone_by < NEVER:
        return "over" if now >= min(watch.gone_by, watch.ends_at) else ""
    if now >= watch.ends_at:
        return "timeout"
    return "stalled" if now >= watch.silent_until else ""
