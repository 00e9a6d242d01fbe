"""What one pass over the machine's processes says about each of them."""

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
    """Start time in the back end's own unit; with the pid it names the process for ever."""
    cpu_ticks: int
    """User and system time so far, in hundredths of a second."""
    rss_bytes: int
    name: str
    forked: bool = False
    """It has not made its exec, or may not have: what is read of its environment may be its parent's."""

    @property
    def dead(self) -> bool:
        """A zombie holds nothing but its exit status."""
        return self.state in "ZX"


class Backend(Protocol):
    """Where rows come from: one implementation for Linux, one for every other system."""

    def keep_spare(self) -> None:
        """Keep back what a look needs, so that one is possible when this process has no descriptor left."""
        ...

    def pids(self) -> Iterable[int]:
        """The ids of all processes."""
        ...

    def read(self, pid: int) -> Row | None:
        """The process of this id, None if there is none."""
        ...

    def environment(self, pid: int) -> bytes | None:
        """Its initial environment as ``K=V`` parted by NULs; None if it is not ours to read."""
        ...

    def command_line(self, pid: int) -> list[str]:
        """The arguments it was started with, its program first; nothing if it is gone or not ours to see."""
        ...

    def terminal(self, pid: int) -> str | None:
        """The path of the terminal that its session holds; None without one."""
        ...

    def forks(self) -> int | None:
        """How many processes this boot has made so far; None where the system does not tell, or has few ids to give."""
        ...

    def boot_id(self) -> str:
        """A name for this boot of the machine."""
        ...

    def started_at(self, start: int) -> float:
        """``Row.start`` as epoch seconds."""
        ...
