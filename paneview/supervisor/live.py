"""A run that is alive: its pane, its first process, and what is known to belong to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from paneview.proc import ProcessId, ProcessTable

GUARD_SHELLS = 2  # between the pane's process and the command: see `paneview.tmux.guard`


@dataclass(eq=False, slots=True)
class Live:
    """One run's grip on the world. ``root`` is the pane's process (the guard); None if it was gone at once."""

    run: int
    pane_id: str
    window_id: str
    root: ProcessId | None
    marker: str
    exit_file: Path
    spool_prefix: Path
    # Processes seen in its tree once: they are found again even if they left it and cleared the marker.
    known: set[ProcessId] = field(default_factory=set)

    command: int | None = None  # the pid of the command under the guard's shells, once it was seen

    def command_pid(self) -> int | None:
        """The process people mean: the command, or as near to it as there is a process yet."""
        if self.command is not None or self.root is None:
            return self.command
        table, pid = ProcessTable.recent(), self.root.pid
        for depth in range(GUARD_SHELLS):
            children = [row.pid for row in table.tree(pid) if row.ppid == pid]
            if len(children) != 1:
                return pid
            pid = children[0]
            if depth == GUARD_SHELLS - 1:
                self.command = pid
        return pid
