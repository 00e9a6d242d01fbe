"""What ``--json`` prints for commands that make, check or edit a project's file; see `paneview.cli.shapes`."""

from __future__ import annotations

from typing import Literal

from paneview.cli.shape import Problem, Shape, Success


class Check(Success):
    """`check` of a file without mistakes; with mistakes it is a failure with `problems`."""

    file: str
    session: str
    tasks: list[str]
    problems: list[Problem]


class Offered(Shape):
    """A task that `init` could make of what the project has."""

    name: str
    command: str
    source: str
    """The file that it was found in."""
    suggested: bool
    """Whether it is taken if nobody is asked."""


class Agents(Shape):
    """A file that AI agents read."""

    file: str
    action: Literal["created", "updated", "unchanged", "skipped"]
    reason: str | None
    """Why it was skipped."""


class Init(Success):
    """`init`; with --json it asks nothing."""

    action: Literal["created", "kept"]
    """kept: there was a configuration file already."""
    file: str
    tasks: list[str]
    """The tasks in the new file."""
    offers: list[Offered]
    """All tasks that could be offered."""
    notes: list[str]
    """Which files could not be read."""
    agents: list[Agents]
    taskmux: list[str]
    """Files that still tell agents to use taskmux."""


class Edited(Success, kw_only=True):
    """`add` and `remove`."""

    task: str
    command: str | None = None
    """What `add` has added."""
    action: Literal["added", "removed"]
    file: str
    reloaded: bool
    """Whether a running supervisor has applied it."""


class Completion(Success):
    """`completion`."""

    shell: str
    script: str


PROJECT_SHAPES: dict[str, type[Shape]] = {
    "init": Init,
    "check": Check,
    "add": Edited,
    "remove": Edited,
    "completion": Completion,
}
