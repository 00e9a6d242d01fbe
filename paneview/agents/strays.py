"""Runs that nobody waits for any more: their worker was killed, and no other gets the job.

An agent outlives its worker so that the next one finds it at work. Where there is to be no next one, since the job is
over or the project is taken down, whoever saw to that ends the agent.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from paneview import proc
from paneview.agents import folder as place
from paneview.agents.attending import shim_of, sweep
from paneview.agents.model import RunOutcome

PATIENCE = 10.0  # seconds for agents to end, which their shims see to
LOOK = 0.05


def all_of(state: Path) -> list[Path]:
    """The folders of a project's runs."""
    with suppress(FileNotFoundError):
        return list(place.runs_dir(state).iterdir())
    return []


def is_stray(folder: Path) -> bool:
    """Whether the run has begun and not ended, and no worker on this host has it in its hands."""
    if (folder / place.OUTCOME).exists():
        return False
    with suppress(OSError):  # of a run that cannot be looked at nothing is known
        if (attended := place.lock(folder / place.ATTENDED)) is not None:
            try:  # a shim holds its lock before it says who it is; no worker starts one while we look
                return (folder / place.SHIM).exists() or place.is_locked(folder / place.RUNNING)
            finally:
                os.close(attended)
    return False


def end(folders: Iterable[Path]) -> None:
    """End those of these runs that are strays, by their shims or else by force. Returns once they are gone."""
    left = [folder for folder in folders if is_stray(folder)]
    proc.send(signal.SIGTERM, [shim for folder in left if (shim := shim_of(folder)) is not None])
    until = time.monotonic() + PATIENCE
    while left:
        late = time.monotonic() >= until  # a shim that is stopped, say, hears nothing
        for folder in [folder for folder in left if late or shim_of(folder) is None]:
            if (marker := (place.read_json(folder / place.REQUEST) or {}).get("marker")) is not None:
                sweep(str(marker))  # its shim was killed, too, or has not said who it is
            left.remove(folder)
        if left:
            time.sleep(LOOK)


def used(folder: Path) -> RunOutcome | None:
    """What a run has used whose outcome nobody brought; None: nothing that is known."""
    found = place.read_json(folder / place.OUTCOME)
    with suppress(ValueError, TypeError, KeyError):
        if found is not None:
            return RunOutcome.from_json(found)
    return place.earlier(folder)
