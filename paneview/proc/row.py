"""The facts that a pass over the machine's processes reads of each of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """One process as seen at one instant."""

    pid: int
    ppid: int
    group: int
    session: int
    foreground: int
    """The foreground process group of its terminal, -1 without one."""
    state: str
    """One letter; Z and X are dead."""
    start: int
    """Start time in the back end's own unit; with the pid it identifies the process uniquely."""
    cpu_ticks: int
    """User and system time so far, in hundredths of a second."""
    rss_bytes: int
    name: str
    forked: bool = False
    """It has not called exec, or may not have: the environment read may still be its parent's."""

    @property
    def dead(self) -> bool:
        """Whether the process is dead: a zombie holds nothing but its exit status."""
        return self.state in "ZX"


class Backend(Protocol):
    """Where rows come from: one implementation for Linux, one for every other system."""

    def keep_spare(self) -> None:
        """Reserve what reading needs, so that it is possible even when this process has no descriptor left."""
        ...

    def pids(self) -> Iterable[int]:
        """The pids of all processes."""
        ...

    def read(self, pid: int) -> Row | None:
        """The process with this pid; None if there is none."""
        ...

    def environment(self, pid: int) -> bytes | None:
        """The process's initial environment, ``K=V`` separated by NULs; None if it is not readable."""
        ...

    def command_line(self, pid: int) -> list[str]:
        """The arguments of the process, its program first; empty if it is gone or not accessible."""
        ...

    def folder(self, pid: int) -> str | None:
        """The process's current folder; None if it is gone or not accessible."""
        ...

    def terminal(self, pid: int) -> str | None:
        """The path of its session's terminal; None without one."""
        ...

    def forks(self) -> int | None:
        """How many processes this boot has created so far; None if the system does not tell or has few pids."""
        ...

    def boot_id(self) -> str:
        """A name for this boot of the machine."""
        ...

    def started_at(self, start: int) -> float:
        """``Row.start`` as epoch seconds."""
        ...
