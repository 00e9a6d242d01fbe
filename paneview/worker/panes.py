"""The tmux pane that a worker runs in, and whether it still is the same pane.

The next tmux server may use the same socket and pane ids, and a foreign program may run in such a pane. So a pane is
also identified by its server's process and by its own first process: a server never reuses a pane id, and starting
something else in the pane gives it another process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from paneview import proc
from paneview.proc import ProcessId
from paneview.tmux.errors import TmuxError
from paneview.tmux.launch import run_tmux
from paneview.tmux.server import exactly

_WHO = "#{pid} #{pane_pid}"


class Pane(NamedTuple):
    """A pane of a particular tmux server."""

    id: str
    socket: str
    """Path of the server's socket."""
    server: int = 0
    """The server's pid; 0 if not known."""
    server_start: int = 0
    pid: int = 0
    """The pid of the pane's first process; 0 if not known."""

    @classmethod
    def here(cls, environ: Mapping[str, str]) -> Pane | None:
        """The pane that this environment names; None outside tmux."""
        name, (socket, _, rest) = environ.get("TMUX_PANE"), environ.get("TMUX", "").partition(",")
        if not name or not socket:
            return None
        bare = cls(name, socket)
        told = rest.partition(",")[0]
        server = proc.identify(int(told)) if told.isdecimal() else None
        found = bare._ask()
        if server is None or found is None or found[0] != server.pid:
            return bare
        return cls(name, socket, server.pid, server.start, found[1])

    @property
    def is_there(self) -> bool:
        """Whether it still exists in the same server, with the same process in it; asks tmux."""
        known = bool(self.server and self.pid) and proc.is_alive(ProcessId(self.server, self.server_start))
        return known and self._ask() == (self.server, self.pid)

    def respawn(self, folder: str, *argv: str) -> None:
        """Start a program in the pane, replacing what runs there. Raises TmuxError."""
        run_tmux(
            None, *exactly(self.socket), "respawn-pane", "-k", "-t", self.id, "-c", folder, "--", *argv
        )  # fmt: skip

    def _ask(self) -> tuple[int, int] | None:
        """The pids of the server and of the pane's process now; None if tmux doesn't answer or has no such pane."""
        ask = (*exactly(self.socket), "display-message", "-p", "-t", self.id, _WHO)
        try:
            words = run_tmux(None, *ask).split()
        except TmuxError:
            return None
        return (int(words[0]), int(words[1])) if len(words) == 2 and all(map(str.isdecimal, words)) else None
