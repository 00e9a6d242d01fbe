"""Signals to exactly the processes that were meant."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterable
from contextlib import suppress

from paneview.proc.backend import backend
from paneview.proc.ids import ProcessId, is_alive


def send(number: int, processes: Iterable[ProcessId]) -> set[ProcessId]:
    """Send a signal to each process that still is the one named; those that got it."""
    return {process for process in processes if _send_one(number, process)}


def _send_one(number: int, process: ProcessId) -> bool:
    try:
        if hasattr(os, "pidfd_open"):
            fd = os.pidfd_open(process.pid)
            try:
                if not is_alive(process):
                    return False
                signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)
        elif is_alive(process):
            os.kill(process.pid, number)
        else:
            return False
    except (ProcessLookupError, PermissionError):
        return False
    return True


def interrupt(pane: ProcessId, number: int = signal.SIGINT) -> bool:
    """What Ctrl-C does: signal the foreground process group of the terminal that ``pane`` leads.

    Sent by the kernel's own notion of the foreground, so it neither depends on what the terminal's keys are
    set to nor is swallowed by tmux's copy mode. False if there is no such group any more.

    Who has just been forked may not lead a session yet. It is still in the tmux server's then, and so is its group: an
    interrupt to that would end the server with every session in it. Nothing is sent, since nobody is there to hear it.

    As Ctrl-C does, it lets a terminal go on that Ctrl-S holds, or a program could never write its farewell.
    """
    row = backend.read(pane.pid)
    if row is None or row.start != pane.start or row.dead:
        return False
    if row.session != row.pid:
        return True
    # Without a terminal of its own, the group that the process leads is the nearest thing.
    group = row.foreground if row.foreground > 1 else row.group
    if group <= 1 or group == os.getpgrp():
        return False
    _let_go_on(pane.pid)
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _let_go_on(pid: int) -> None:
    """End what Ctrl-S did to this process's terminal. Only who holds it may let it go: so it is held first."""
    path = backend.terminal(pid)
    with suppress(OSError, termios.error):
        if path is not None:
            fd = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                termios.tcflow(fd, termios.TCOOFF)
                termios.tcflow(fd, termios.TCOON)
            finally:
                os.close(fd)
