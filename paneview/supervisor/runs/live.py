"""A live run: its pane, its first process, and the processes known to belong to it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from paneview.proc import ProcessId, ProcessTable, command_line
from paneview.tmux import guard


class Live(Struct, eq=False):
    """What is needed to reach a run. ``root`` is the pane's process (the guard); None if it was gone at once."""

    run: int
    pane_id: str
    window_id: str
    root: ProcessId | None
    marker: str
    exit_file: Path
    spool_prefix: Path
    # Processes seen in its tree: they are found again even if they have left it and cleared the marker.
    known: set[ProcessId] = set()

    command: int | None = None  # pid of the command under the guard's shells, once it was seen
    definition: str = ""  # what it was launched from; see `origin`
    lost: bool = False
    """Its terminal is gone: however it ends, it did not end by itself."""

    told: set[str] = set()  # problems with its end that have been reported
    heard: bool | None = None  # whether a signal of ours has reached the command; None if none was sent

    def remember(self, table: ProcessTable) -> None:
        """Note what is in its tree now, and forget what has ended: in months, a run may have millions of processes."""
        tree = table.tree(self.root.pid) if self.root and table.get(self.root) else []
        self.known = {one for one in self.known if table.get(one)}
        self.known.update(ProcessId(row.pid, row.start) for row in tree)

    def command_pid(self) -> int | None:
        """The pid of the command itself, which is shown to people; None until the guard has started it."""
        if self.command is None and self.root is not None:
            self.command = guard.command_pid(self.root.pid)
        return self.command

    def hears(self) -> bool:
        """Whether a signal sent now reaches a program, and not only shells that have yet to start it.

        A shell forgets a signal that comes while it forks, and defers one that comes in between until the program that
        it is about to start has ended.
        """
        pid = self.command_pid()
        if pid is None:
            return False
        programs = (row for row in ProcessTable.recent().tree(pid) if not row.forked)
        return any(row.pid != pid or not guard.is_shell(command_line(pid)) for row in programs)
