"""CPU and memory of whole process trees, all from one pass."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from paneview.proc.ids import ProcessId
from paneview.proc.table import ProcessTable


class Usage(NamedTuple):
    """The usage of one process tree."""

    cpu_percent: float
    """Since the last sample; 100 is one core."""
    rss_bytes: int
    """Resident memory, summed: pages shared within the tree count once per process."""
    processes: int


class Sampler:
    """Samples many trees at once, and remembers CPU times to compute the usage between two samples."""

    def __init__(self) -> None:
        self._ticks: dict[ProcessId, int] = {}
        self._at: float | None = None

    def sample(self, roots: Mapping[str, ProcessId], table: ProcessTable | None = None) -> dict[str, Usage]:
        """The usage of each tree whose root is alive; CPU is 0 in the first sample.

        A tree here is all that descends from the root or shares its session.
        """
        table = table or ProcessTable.recent()  # the trees' rows are read anew
        now = time.monotonic()
        elapsed = now - self._at if self._at is not None else 0.0
        ticks: dict[ProcessId, int] = {}
        usage = {
            name: self._measure(root, table, elapsed, ticks)
            for name, root in roots.items()
            if table.get(root)
        }
        self._ticks, self._at = ticks, now
        return usage

    def _measure(
        self, root: ProcessId, table: ProcessTable, elapsed: float, ticks: dict[ProcessId, int]
    ) -> Usage:
        rows = {row.pid: row for row in (*table.tree(root.pid), *table.session(root.pid))}
        used = 0
        for row in rows.values():
            process = ProcessId(row.pid, row.start)
            ticks[process] = row.cpu_ticks
            # A process that is new since the last sample has spent all its time since then; in the first
            # sample of a tree that is unknown.
            if root in self._ticks:
                used += row.cpu_ticks - self._ticks.get(process, 0)
        percent = used / elapsed if elapsed > 0 else 0.0  # a tick is a hundredth of a second
        return Usage(percent, sum(row.rss_bytes for row in rows.values()), len(rows))
