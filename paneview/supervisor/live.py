"""A run that is alive: its pane, its first process, and what is known to belong to it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from paneview.proc import ProcessId, ProcessTable, command_line
from paneview.tmux import guard


class Live(Struct, eq=False):
    """One run's grip on the world. ``root`` is the pane's process (the guard); None if it was gone at once."""

    run: int
    pane_id: str
    window_id: str
    root: ProcessId | None
    marker: str
    exit_file: Path
    spool_prefix: Path
    # Processes seen in its tree once: they are found again even if they left it and cleared the marker.
    known: set[ProcessId] = set()

    command: int | None = None  # the pid of the command under the guard's shells, once it was seen
    definition: str = ""  # what it was launched from; see `origin`
    lost: bool = False
    """Its terminal is gone: whatever it ends with, it was not its own doing."""

    told: set[str] = set()  # what is in the way of its end, as it was told already
    heard: bool | None = None  # whether a signal of ours has met the command; None if none was sent

    def command_pid(self) -> int | None:
        """The command's own process, which people mean; None in the moment before the guard has started it."""
        if self.command is None and self.root is not None:
            self.command = guard.command_pid(self.root.pid)
        return self.command

    def hears(self) -> bool:
        """Whether a signal that is sent now meets a program, and not only shells that have yet to start it.

        A shell forgets what it was told while it forks, and keeps what it was told in between until the program that
        it is about to start has ended.
        """
        pid = self.command_pid()
        if pid is None:
            return False
        programs = (row for row in ProcessTable.recent().tree(pid) if not row.forked)
        return any(row.pid != pid or not guard.is_shell(command_line(pid)) for row in programs)
