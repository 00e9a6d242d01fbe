"""How long an agent's run may last, and how it is ended: pure, over the caller's clock.

A run is ended when its time is up, when it has been silent for too long, on request, or when it does not exit after its
own last event. First SIGINT, which agents treat as a person's Ctrl-C; then SIGTERM; then SIGKILL, repeated until it is
gone. Silence that the agent has announced, because it waits before it asks its provider again, does not count: a run
that would recover is left to do so.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Why = Literal["", "cancelled", "timeout", "stalled", "budget", "over"]
Signal = Literal["INT", "TERM", "KILL"]
PATIENCE = 1.0  # seconds between two signals
AGAIN = 0.25  # seconds between two SIGKILLs
NEVER = float("inf")
_STEPS: tuple[tuple[Signal, float], ...] = (("INT", PATIENCE), ("TERM", PATIENCE), ("KILL", AGAIN))


class Limits(NamedTuple):
    """The limits of a run, in seconds."""

    timeout: float
    stall: float
    """How long it may be silent. 0: for ever."""
    linger: float


class Watch(NamedTuple):
    """A run under way. All times come from one monotonic clock."""

    ends_at: float
    silent_until: float
    """How long it may stay silent."""
    gone_by: float = NEVER
    """When it must have exited, once its last event has come."""
    why: Why = ""
    """Why it is being ended; empty if it is not."""
    step: int = 0
    next_at: float = NEVER
    """When the next signal is due."""


def begin(limits: Limits, now: float, ends_at: float | None = None) -> Watch:
    """Watch a process that has started; ``ends_at``: the end of the run, of which it may not be the first process."""
    return Watch(now + limits.timeout if ends_at is None else ends_at, _silence(limits, now, 0.0))


def _silence(limits: Limits, now: float, patience: float) -> float:
    return now + limits.stall + patience if limits.stall > 0 else NEVER


def heard(watch: Watch, limits: Limits, now: float, patience: float = 0.0) -> Watch:
    """Note output; ``patience``: the seconds of silence that it has announced."""
    return watch._replace(silent_until=_silence(limits, now, patience))


def concluded(watch: Watch, limits: Limits, now: float) -> Watch:
    """Note its last event; now it only tidies up."""
    return watch if watch.gone_by < NEVER else watch._replace(gone_by=now + limits.linger)


def stop(watch: Watch, why: Why, now: float) -> Watch:
    """Begin to end it. The first reason counts; an empty one changes nothing."""
    return watch if watch.why or not why else watch._replace(why=why, next_at=now)


def due(watch: Watch) -> float:
    """When to call `tick` at the latest."""
    if watch.why:
        return watch.next_at
    if watch.gone_by < NEVER:
        return min(watch.gone_by, watch.ends_at)
    return min(watch.ends_at, watch.silent_until)


def tick(watch: Watch, now: float) -> tuple[Watch, Signal | None]:
    """Note that time has passed; also returns the signal to send now, if any."""
    if not watch.why:
        watch = stop(watch, _reason(watch, now), now)
    if not watch.why or now < watch.next_at:
        return watch, None
    signal, wait = _STEPS[min(watch.step, len(_STEPS) - 1)]
    return watch._replace(step=watch.step + 1, next_at=now + wait), signal


def _reason(watch: Watch, now: float) -> Why:
    if watch.gone_by < NEVER:
        return "over" if now >= min(watch.gone_by, watch.ends_at) else ""
    if now >= watch.ends_at:
        return "timeout"
    return "stalled" if now >= watch.silent_until else ""
