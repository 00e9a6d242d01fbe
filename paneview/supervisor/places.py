"""The files that runs leave: their output in the spool, and the exit codes that their guards write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from paneview import proc
from paneview.store import spool


class RunPlaces(Struct, frozen=True):
    """Where a project's runs write their files, and the key in its processes' markers."""

    key: str
    spool: Path
    exits: Path

    def marker(self, run: int) -> str:
        """The environment marker of a run's processes."""
        return proc.marker(self.key, run)

    def spool_prefix(self, run: int) -> Path:
        """What the names of a run's spool files begin with."""
        return spool.prefix(self.spool, run)

    def exit_file(self, run: int) -> Path:
        """Where a run's guard writes the exit code; kept until the run's end is recorded and the task runs anew."""
        return self.exits / str(run)

    def alive(self) -> set[int]:
        """The runs of which some process is alive, as its marker says."""
        prefix = self.marker(0).removesuffix("0")
        found = (marker.removeprefix(prefix) for marker in proc.ProcessTable.recent().marked(prefix))
        return {int(run) for run in found if run.isdecimal()}  # others are of hooks and probes

    def written(self) -> list[int]:
        """The runs that have an exit file, including those with no record any more."""
        try:
            return [int(name) for name in os.listdir(self.exits) if name.isdecimal()]
        except OSError:
            return []

    def clear_exits(self, runs: Iterable[int]) -> None:
        """Remove the exit files of these runs. Blocking."""
        for run in runs:
            with suppress(OSError):  # there is none, or it stays
                os.unlink(self.exit_file(run))
