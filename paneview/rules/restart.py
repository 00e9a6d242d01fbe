"""Restart policy: whether a run that ended is followed by another, and when.

The n-th automatic restart in a row waits ``backoff ** (n - 1)`` seconds, at most 60, except that the first comes at
once. A tenth of jitter keeps tasks that failed together from restarting together.
"""

from __future__ import annotations

from msgspec import Struct

from paneview.config.choices import RestartPolicy

MAX_DELAY = 60.0  # seconds
JITTER = 0.1  # of the delay, at most
HEALTHY_RESETS_AFTER = 60.0  # seconds of health after which earlier restarts are forgotten
SHELL_MEANS = {126: "cannot be executed", 127: "command not found"}  # POSIX, shell command language, 2.8.2


class Exit(Struct, frozen=True):
    """How a run ended. Both None: unknown, because the tmux server died with it."""

    code: int | None = None
    signal: int | None = None

    @property
    def success(self) -> bool:
        """Exit code 0 and no signal."""
        return self.code == 0 and self.signal is None


def wants_restart(policy: RestartPolicy, exit_: Exit) -> bool:
    """Whether the policy restarts a task whose run ended like this by itself."""
    return policy == "always" or (policy == "on-failure" and not exit_.success)


def delay(attempt: int, backoff: float, chance: float) -> float:
    """Seconds before the ``attempt``-th restart in a row, from 1; ``chance`` in [0, 1) is random, for the jitter."""
    if attempt <= 1 or backoff <= 0:
        return 0.0
    try:
        wait = min(backoff ** (attempt - 1), MAX_DELAY)
    except OverflowError:
        wait = MAX_DELAY
    return wait * (1 - JITTER * chance)


def describe(exit_: Exit) -> str:
    """An exit in words: ``exit code 3``, ``killed by signal 9``, ``exit status unknown``; what a shell means by one."""
    if exit_.signal is not None:
        return f"killed by signal {exit_.signal}"
    if exit_.code is not None:
        meaning = SHELL_MEANS.get(exit_.code)
        return f"exit code {exit_.code}" + (f" ({meaning})" if meaning else "")
    return "exit status unknown"
