"""Sending signals to exactly the intended processes."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterable
from contextlib import suppress

from paneview.proc.backend import backend
from paneview.proc.ids import ProcessId, is_alive


def send(number: int, processes: Iterable[ProcessId]) -> set[ProcessId]:
    """Send a signal to each process that is still the same one; returns those that got it.

    Raises OSError only if it cannot be looked whether it is the same one (see `keep_spare`).
    """
    return {process for process in processes if _send_one(number, process)}


def _send_one(number: int, process: ProcessId) -> bool:
    fd = _pidfd(process.pid)
    try:
        if not is_alive(process):
            return False
        if fd is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(fd, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if fd is not None:
            os.close(fd)
    return True


def _pidfd(pid: int) -> int | None:
    """A descriptor of the process; None if there is none to be had.

    Because the process is gone, no descriptor is left, or the kernel does not have or a sandbox forbids the call: none
    of which must keep a task from being ended.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def interrupt(pane: ProcessId, number: int = signal.SIGINT) -> bool:
    """Do what Ctrl-C does: signal the foreground process group of the terminal that ``pane`` leads.

    The kernel says which group is in the foreground, so this neither depends on the terminal's key settings nor
    is swallowed by tmux's copy mode. False if there is no such group any more.

    A process just forked may not lead its own session yet. It is then still in the tmux server's session and group, and
    an interrupt would end the server with all its sessions. So nothing is sent, as no command runs there yet.

    Like Ctrl-C, it resumes a terminal stopped by Ctrl-S, or a program could never write its last output.
    """
    row = backend.read(pane.pid)
    if row is None or row.start != pane.start or row.dead:
        return False
    if row.session != row.pid:
        return True
    # Without a terminal, the group of the process is the closest equivalent.
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
    """Undo a Ctrl-S on this process's terminal. Only the one that stopped it may resume it, so stop it first."""
    path = backend.terminal(pid)
    with suppress(OSError, termios.error):
        if path is not None:
            fd = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                termios.tcflow(fd, termios.TCOOFF)
                termios.tcflow(fd, termios.TCOON)
            finally:
                os.close(fd)
