"""What a worker may do and how: all of it from its own command line and file, nothing from a job."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paneview import proc
from paneview.broker import Claim, Worker, lanes_of
from paneview.broker.targets import check_name
from paneview.config.paths import state_home
from paneview.config.queue import host_name

DEFAULT_ROLE = "worker"
DEFAULT_COMMAND = ("claude", "-p")


@dataclass(frozen=True, slots=True)
class Setup:
    """A worker's own settings. Durations in seconds."""

    roles: tuple[str, ...] = (DEFAULT_ROLE,)
    concurrency: int = 1
    """Jobs at the same time."""
    once: bool = False
    """Do what is there, at most ``concurrency`` jobs, and end."""
    name: str = ""
    """Under which it gets jobs through all its incarnations; empty: its task's name, else its pane's id."""
    host: str = ""
    grace: float = 30.0
    """At its end: how long jobs may go on before they are handed back."""
    command: tuple[str, ...] = DEFAULT_COMMAND
    """The program that gets a prompt on its standard input."""
    runner: str = ""
    """What does phases of workflows; empty: the role's, as the file says."""
    allow: tuple[str, ...] = ()
    """Folders in which, or below which, a job may ask to run; empty: the one the worker was started in."""
    file: Path | None = None
    """The project's file, which says what agents may do; None: what is built in holds."""
    state: Path = field(default_factory=state_home)
    """Where the folders of agents' runs and the worktrees of workflows lie."""
    heartbeat_interval: float = 10.0
    heartbeat_ttl: float = 60.0
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        """Raises BrokerError for a name that cannot be part of a target, ValueError for a number that cannot be."""
        for role in self.roles:
            check_name("a role", role)
        if self.name:
            check_name("a worker's name", self.name)
        if not 1 <= self.concurrency <= 1000:
            raise ValueError(f"concurrency {self.concurrency} is not between 1 and 1000")
        if not self.command:
            raise ValueError("the command is empty")

    def folders(self) -> tuple[Path, ...]:
        """The allow-list, links followed."""
        return tuple(
            Path(os.path.realpath(os.path.expanduser(name))) for name in self.allow or (os.getcwd(),)
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this incarnation of a worker is."""

    id: str
    """New with each incarnation: whoever comes next in this pane must not be taken for this one."""
    name: str
    host: str
    pane: str
    """The tmux pane's id; empty outside tmux."""
    supervised: bool
    """Its supervisor brings it back."""

    @classmethod
    def of(cls, setup: Setup) -> Identity:
        """A new one."""
        environ = setup.environ
        pane = environ.get("TMUX_PANE", "") if environ.get("TMUX") else ""
        task = environ.get("PANEVIEW_TASK", "")
        name = setup.name or task or pane or f"standalone-{uuid.uuid4().hex[:8]}"
        return cls(uuid.uuid4().hex, name, setup.host or host_name(), pane, bool(task))

    def registration(self, setup: Setup, kinds: Sequence[str] = ()) -> Worker:
        """As the queue is to know it, with the kinds of jobs that it has handlers for."""
        process = proc.identify(os.getpid())
        return Worker(
            id=self.id,
            name=self.name,
            host=self.host,
            pid=os.getpid(),
            start=process.start if process else 0,
            boot=proc.boot_id() if process else "",
            pids=proc.pid_space(),
            roles=setup.roles,
            pane=self.pane,
            concurrency=setup.concurrency,
            ttl=setup.heartbeat_ttl,
            meta={"supervised": self.supervised, "kinds": list(kinds)},
        )

    def claim(self, setup: Setup) -> Claim:
        """What one slot wants: one job of any of its lanes."""
        names = [name for name in (self.name, self.pane) if name]
        return Claim(self.id, lanes_of(self.id, setup.roles, self.host, names))
