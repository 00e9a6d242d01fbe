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
    """The file that tells of it."""
    suggested: bool
    """It is taken when nobody is asked."""


class Agents(Shape):
    """A file that AI agents read."""

    file: str
    action: Literal["created", "updated", "unchanged", "skipped"]
    reason: str | None
    """Why it was skipped."""


class Init(Success):
    """`init`; it asks nothing when it prints JSON."""

    action: Literal["created", "kept"]
    """kept: there was a configuration file already."""
    file: str
    tasks: list[str]
    """What the new file holds."""
    offers: list[Offered]
    """All that could have been had."""
    notes: list[str]
    """What could not be read."""
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
    """Whether a running supervisor has taken it over."""


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
