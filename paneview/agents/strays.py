"""Stray runs: their worker was killed, and no other worker will get the job.

An agent outlives its worker so that the next one can wait for it. If there will be no next one, because the job is over
or the project is taken down, the process responsible for that ends the agent.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from paneview import proc
from paneview.agents import folder as place
from paneview.agents.attending import shim_of, sweep
from paneview.agents.model import RunOutcome

PATIENCE = 10.0  # seconds for the shims to end their agents
LOOK = 0.05
_LOOKING = threading.Lock()  # one look at a time: it takes the lock by which a worker's presence is seen


def all_of(state: Path) -> list[Path]:
    """The folders of a project's runs."""
    with suppress(FileNotFoundError):
        return list(place.runs_dir(state).iterdir())
    return []


def is_stray(folder: Path) -> bool:
    """Whether the run has begun and not ended, and no worker on this host attends it."""
    if (folder / place.OUTCOME).exists():
        return False
    with _LOOKING, suppress(OSError):  # nothing is known of a run that cannot be read
        if (attended := place.lock(folder / place.ATTENDED)) is not None:
            try:  # a shim takes its lock before it identifies itself; no worker starts one while we check
                return (folder / place.SHIM).exists() or place.is_locked(folder / place.RUNNING)
            finally:
                os.close(attended)
    return False


def end(folders: Iterable[Path]) -> None:
    """End the stray runs among these, through their shims or else by force. Returns once they are gone."""
    left = [folder for folder in folders if is_stray(folder)]
    proc.send(signal.SIGTERM, [shim for folder in left if (shim := shim_of(folder)) is not None])
    until = time.monotonic() + PATIENCE
    while left:
        late = time.monotonic() >= until  # a stopped shim, for example, doesn't react
        for folder in [folder for folder in left if late or shim_of(folder) is None]:
            if (marker := (place.read_json(folder / place.REQUEST) or {}).get("marker")) is not None:
                sweep(str(marker))  # its shim was killed, too, or has not identified itself
            left.remove(folder)
        if left:
            time.sleep(LOOK)


def used(folder: Path) -> RunOutcome | None:
    """The usage of a run whose outcome was not reported; None if unknown."""
    found = place.read_json(folder / place.OUTCOME)
    with suppress(ValueError, TypeError, KeyError):
        if found is not None:
            return RunOutcome.from_json(found)
    return place.earlier(folder)
