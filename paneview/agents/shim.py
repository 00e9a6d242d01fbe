"""The process that runs an agent: ``python -m paneview.agents.shim FOLDER``, one for each run.

It is its worker's child, but independent of it: it has its own session and marker, and no terminal. If the worker is
killed, it goes on, and the next worker finds it by the run's folder. SIGTERM to it ends the agent.

The agent is started before anything else is imported, so that `driving` loads while the agent is starting.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NamedTuple

    class Started(NamedTuple):
        """An agent's pid, our ends of its output and error pipes, and when it began (epoch seconds)."""

        pid: int
        out: int
        err: int
        at: float
else:
    Started = namedtuple("Started", "pid out err at")  # importing typing would take longer than all the rest

TAKEN = 75  # exit status if another shim has this run
# What a terminal sends to all its processes. A shim ignores it, and is started with it blocked: it may come just then.
FROM_TERMINAL = (signal.SIGINT, signal.SIGHUP)


def start(argv: list[str], prompt: str, cwd: str) -> Started:
    """Start an agent in its own session, with the file ``prompt`` as its standard input. Raises OSError."""
    stdin = os.open(prompt, os.O_RDONLY)
    out, out_in = os.pipe()
    err, err_in = os.pipe()
    os.chdir(cwd)
    actions = [(os.POSIX_SPAWN_DUP2, given, number) for number, given in enumerate((stdin, out_in, err_in))]
    defaults = (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    try:
        pid = os.posix_spawnp(
            argv[0], argv, os.environ, file_actions=actions, setsid=True, setsigdef=defaults, setsigmask=()
        )
    except BaseException:
        for given in (out, err):
            os.close(given)
        raise
    finally:
        for given in (stdin, out_in, err_in):
            os.close(given)
    return Started(pid, out, err, time.time())


class Told:
    """Whether we were told to end; ``bell`` is readable once we were."""

    def __init__(self) -> None:
        self.to_end = False
        self.bell, self._ring = os.pipe()
        os.set_blocking(self._ring, False)
        # Written when the signal arrives: one just before a wait would reach Python's handler only after it.
        signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._tell)
        for number in FROM_TERMINAL:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FROM_TERMINAL)

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self.to_end = True


def main(folder: str) -> int:
    """Do the run of this folder."""
    lock = os.open(os.path.join(folder, "running.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return TAKEN
    told = Told()
    with open(os.path.join(folder, "request.json"), "rb") as file:
        request = json.load(file)
    started: Started | OSError
    try:
        started = start(request["argv"], os.path.join(folder, "prompt.txt"), request["cwd"])
    except OSError as error:
        started = error
    from paneview.agents.driving import drive  # noqa: PLC0415 - see above

    drive(folder, request, started, told)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1])
    os._exit(status)  # all is written: cleaning up would only keep the worker waiting
