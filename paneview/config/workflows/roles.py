"""Runners and roles as the rest of the program sees them: who drives an agent, and what the agent may do.

A *runner* is a way to run an agent program: what to start, how to read what it says, how long to wait. A *role* says
which runner does its work and what the agent may touch. Both come from the file of whoever runs the worker; nothing in
a job can change them.

Every preset is a runner of its own name without a table in the file. A role needs no table either: planner and reviewer
may only read, worker and compounder may edit, and any other may only read. A role without a runner takes the first of
the file's ``[runners]``, or claude if the file has none.

Named tuples: the process that starts an agent has no time for the models that check the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Permissions = Literal["read", "edit", "full"]
PRESETS = ("claude", "codex", "gemini", "opencode", "aider", "demo")
DEFAULT_RUNNER = "claude"
DEFAULT_PERMISSIONS: Mapping[str, Permissions] = {
    "planner": "read", "reviewer": "read", "worker": "edit", "compounder": "edit",
}  # fmt: skip


class Runner(NamedTuple):
    """A way to run an agent. Durations in seconds."""

    name: str
    preset: str = ""
    """Which agent program it is; empty: any other, by ``argv``."""
    argv: tuple[str, ...] = ()
    """The program and its first arguments; empty: as the preset has it."""
    parser: str = "plain"
    """How its output is read: like that of a preset, or ``plain``."""
    model: str = ""
    args: tuple[str, ...] = ()
    """Further arguments."""
    timeout: float = 3600.0
    """How long a run may take."""
    stall_timeout: float = 900.0
    """How long it may be silent; 0: for ever."""
    linger: float = 5.0
    """How long it may go on after its result."""
    max_concurrent: int = 0
    """Runs at the same time, over all workers of the queue; 0: any number."""
    max_turns: int = 0
    """Turns of the agent, where the program knows such a limit; 0: its own."""
    env: Mapping[str, str] = {}


class Role(NamedTuple):
    """What agents of a role may do, and where."""

    name: str
    runner: str = ""
    """Empty: the default."""
    permissions: Permissions = "read"
    approvals: bool | None = None
    """Whether a tool may be used that a person has allowed in a workflow, as the job says; None: only if the queue is
    this host's own, which nobody else can write to."""
    hosts: tuple[str, ...] = ()
    """Where it may run; empty: everywhere."""


class Agents(NamedTuple):
    """Every runner and role of a file."""

    runners: Mapping[str, Runner] = {}
    """With the built-in ones."""
    roles: Mapping[str, Role] = {}
    """With the built-in ones."""
    default_runner: str = DEFAULT_RUNNER

    def role(self, name: str) -> Role:
        """The role of this name, even if the file has none."""
        return self.roles.get(name) or Role(name, permissions=DEFAULT_PERMISSIONS.get(name, "read"))

    def runner(self, role: str, worker: str = "") -> Runner:
        """The runner for a role: the worker's own, else the role's, else the default. Raises KeyError."""
        return self.runners[worker or self.role(role).runner or self.default_runner]


def built_in_runners() -> dict[str, Runner]:
    """A runner for each preset."""
    return {name: Runner(name, name, parser="claude" if name == "demo" else name) for name in PRESETS}


def built_in_roles() -> dict[str, Role]:
    """The roles of the default workflow."""
    return {name: Role(name, permissions=may) for name, may in DEFAULT_PERMISSIONS.items()}
