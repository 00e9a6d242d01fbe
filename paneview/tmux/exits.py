"""The true exit status of a pane whose process has ended, as soon as it is known.

Up to 3.5, as built by distributions, tmux runs a helper (utempter) whose clean-up swallows SIGCHLD: four of five
exits stay without a status until another child dies. So that signal is sent to the server again, a few times at
growing intervals. The guard's exit code is as reliable as tmux's own, but all output has been passed on only once
the pane is dead: this is waited for as well, because the caller may start the next run in the pane.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from paneview.proc import SCARCE
from paneview.tmux.guard import ExitStatus, read_exit_file
from paneview.tmux.spawn import PaneInfo

# Seconds after the first look; then what is known must do. If nothing is known, a busy tmux gets a little longer.
NUDGES = (0.0, 0.0015, 0.004, 0.010, 0.030, 0.100, 0.3, 1.0)
LATER = (2.0, 4.0)
UNKNOWN = ExitStatus(None)


async def exit_status(
    look: Callable[[], Awaitable[PaneInfo | None]], server_pid: int, exit_file: Path
) -> ExitStatus:
    """The status of an ended process. ``look`` asks tmux for its pane; None if that is gone.

    If the pane is gone, the guard's file is the only source; the guard writes it when the task has died of the
    hang-up, a moment after the process that tmux knew. Raises OSError if that file is the only source and cannot
    be opened.
    """
    last, pane = 0.0, None
    for delay in (*NUDGES, *LATER):
        if delay in LATER and (pane is None or told(pane) or _written(exit_file)):
            break  # there is no pane, or something holds the terminal open and the status is known anyway
        await asyncio.sleep(delay - last)
        last = delay
        pane = await look()
        if pane and pane.dead and (status := told(pane)):
            return status
        if (pane is None or pane.dead) and (status := _written(exit_file)):
            if pane:
                nudge(server_pid)  # for the pane itself, which otherwise never shows up as dead
            return status
        if pane:
            nudge(server_pid)
    return read_exit_file(exit_file) or (told(pane) if pane else None) or UNKNOWN


def _written(exit_file: Path) -> ExitStatus | None:
    """The status that the guard wrote; None also if it cannot be read now, since tmux may know it as well."""
    try:
        return read_exit_file(exit_file)
    except OSError as error:
        if error.errno not in SCARCE:
            raise
        return None


def told(pane: PaneInfo) -> ExitStatus | None:
    """The status that tmux reports for this pane's process; None if it reports none."""
    if pane.signal:
        return ExitStatus.of_signal(_signal_number(pane.signal))
    return ExitStatus.of_code(pane.status) if pane.status is not None else None


def nudge(server_pid: int) -> None:
    """Make the tmux server look for dead children."""
    try:
        os.kill(server_pid, signal.SIGCHLD)
    except ProcessLookupError:
        return


def _signal_number(text: str) -> int:
    if text.isdecimal():
        return int(text)
    name = text.upper().removeprefix("SIG")
    return int(getattr(signal, f"SIG{name}", 0))
