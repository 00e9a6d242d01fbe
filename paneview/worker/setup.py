"""A worker's settings and identity: all from its own command line, environment and file, nothing from a job."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from paneview import proc
from paneview.broker import Claim, Registration, lanes_of
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
    """Number of jobs at the same time."""
    once: bool = False
    """Do the jobs that are waiting, at most ``concurrency`` of them, and end."""
    name: str = ""
    """The name for addressing jobs to all its incarnations; empty: its task's name, else its pane's id."""
    host: str = ""
    grace: float = 30.0
    """How long jobs may go on when the worker ends before they are handed back."""
    command: tuple[str, ...] = DEFAULT_COMMAND
    """The program that gets prompts on its standard input."""
    runner: str = ""
    """The runner for phases of workflows; empty: the role's, as the file says."""
    allow: tuple[str, ...] = ()
    """Folders in or below which a job may ask to run; empty: the folder the worker was started in."""
    file: Path | None = None
    """The project's file, which says what agents may do; None: only the built-in runners and roles."""
    state: Path = field(default_factory=state_home)
    """The parent of the folders of agents' runs and of the workflows' worktrees."""
    heartbeat_interval: float = 10.0
    heartbeat_ttl: float = 60.0
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def __post_init__(self) -> None:
        """Raises BrokerError for a name that cannot be part of a target, ValueError for other invalid settings."""
        for role in self.roles:
            check_name("a role", role)
        if self.name:
            check_name("a worker's name", self.name)
        if not 1 <= self.concurrency <= 1000:
            raise ValueError(f"concurrency {self.concurrency} is not between 1 and 1000")
        if not self.command:
            raise ValueError("the command is empty")

    def folders(self) -> tuple[Path, ...]:
        """The folders of the allow-list, with links followed."""
        return tuple(
            Path(os.path.realpath(os.path.expanduser(name))) for name in self.allow or (os.getcwd(),)
        )


class Identity(NamedTuple):
    """The identity of one incarnation of a worker."""

    id: str
    """Unique to each incarnation: the next worker in this pane must not be mistaken for this one."""
    name: str
    host: str
    pane: str
    """The tmux pane's id; empty outside tmux."""
    supervised: bool
    """Whether a supervisor runs it, and brings it back."""

    @classmethod
    def of(cls, setup: Setup) -> Identity:
        """A new identity."""
        environ = setup.environ
        pane = environ.get("TMUX_PANE", "") if environ.get("TMUX") else ""
        task = environ.get("PANEVIEW_TASK", "")
        name = setup.name or task or pane or f"standalone-{uuid.uuid4().hex[:8]}"
        return cls(uuid.uuid4().hex, name, setup.host or host_name(), pane, bool(task))

    def registration(self, setup: Setup, kinds: Sequence[str] = ()) -> Registration:
        """The worker's entry for the queue, with the kinds of jobs it has handlers for."""
        process = proc.identify(os.getpid())
        return Registration(
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
        """The claim of one slot: one job from any of the worker's lanes."""
        names = [name for name in (self.name, self.pane) if name]
        return Claim(self.id, lanes_of(self.id, setup.roles, self.host, names))
