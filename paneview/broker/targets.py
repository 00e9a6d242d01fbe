"""Who may take a job: a target, and the lane in which its jobs wait.

A lane is a queue of its own, named after its target. A worker takes jobs from several at once:

====================  ==========================================================================
``any``               every worker
``r:ROLE``            workers of a role
``h:HOST``            workers on a host
``r:ROLE@HOST``       workers of a role on that host
``t:NAME``            the worker in the task or pane of that name, through all its restarts
``w:ID``              one incarnation of a worker; when it dies, its jobs go to its task, else role
====================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from paneview.broker.errors import BadJobError

MAX_NAME = 64  # characters: lanes become file names and keys
_FORBIDDEN = set("@/\\")
_KINDS = ("task", "pane", "worker", "role", "host")  # prefixes of a name on the command line, with a colon


def check_name(what: str, name: str) -> str:
    """Return the name if it can be part of a lane. Raises `BadJobError`."""
    if not 0 < len(name) <= MAX_NAME:
        raise BadJobError(f"{what} has {len(name)} characters, 1 to {MAX_NAME} are possible")
    if not name.isprintable() or _FORBIDDEN & set(name) or name.split() != [name]:
        raise BadJobError(f"{what} {name!r} holds a space, @, a slash or something unprintable")
    return name


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a job is for; with no field set, any worker. Only role and host may be combined."""

    role: str = ""
    host: str = ""
    task: str = ""
    """Name of a task, or a pane's id such as ``%3``."""
    worker: str = ""
    """Id of one incarnation of a worker."""

    def __post_init__(self) -> None:
        """Raises `BadJobError` for an invalid combination or name."""
        named = {
            what: getattr(self, what) for what in ("role", "host", "task", "worker") if getattr(self, what)
        }
        for what, name in named.items():
            check_name(what, name)
        if len(named) > 1 and set(named) != {"role", "host"}:
            raise BadJobError(f"a job is for one of {' or '.join(named)}, not for all of them")

    @property
    def lane(self) -> str:
        """The name of the queue in which such jobs wait."""
        if self.task:
            return f"t:{self.task}"
        if self.worker:
            return f"w:{self.worker}"
        if self.role:
            return f"r:{self.role}@{self.host}" if self.host else f"r:{self.role}"
        return f"h:{self.host}" if self.host else "any"

    def __str__(self) -> str:
        """The target as written on the command line; `read` parses it."""
        if self.task:
            plain = self.task != "any" and self.task.partition(":")[0] not in _KINDS
            return self.task if plain else f"task:{self.task}"
        if self.worker:
            return f"worker:{self.worker}"
        if self.role:
            return f"role:{self.role}@{self.host}" if self.host else f"role:{self.role}"
        return f"host:{self.host}" if self.host else "any"

    @classmethod
    def read(cls, text: str) -> Target:
        """Parse a target from the command line. Raises `BadJobError` for an invalid name.

        ``%3`` or a name: the worker in that pane or task; ``role:R``, ``role:R@HOST``, ``host:H``, ``worker:ID``,
        ``any``.
        """
        kind, colon, name = text.partition(":")
        if text == "any":
            return cls()
        if not colon or kind not in _KINDS:
            return cls(task=check_name("a target", text))
        if kind == "role" and "@" in name:
            role, _, host = name.partition("@")
            return cls(role=check_name("a role", role), host=check_name("a host", host))
        # An empty name, as from an unset variable, would mean any worker.
        check_name(f"the name after {kind}:", name)
        return cls(**{"task" if kind == "pane" else kind: name})

    @classmethod
    @lru_cache(maxsize=256)  # thousands of jobs share a lane
    def of(cls, lane: str) -> Target:
        """The target of a lane. Raises `BadJobError` if this is not a lane's name."""
        kind, _, name = lane.partition(":")
        if lane == "any":
            return cls()
        if kind == "r" and name:
            role, _, host = name.partition("@")
            return cls(role=role, host=host)
        if kind in ("h", "t", "w") and name:
            return cls(**{{"h": "host", "t": "task", "w": "worker"}[kind]: name})
        raise BadJobError(f"{lane!r} is not a lane")


ANY = Target()


def lanes_of(
    worker: str, roles: Iterable[str] = (), host: str = "", tasks: Iterable[str] = ()
) -> tuple[str, ...]:
    """All lanes that a worker takes jobs from; ``tasks``: its task's name, its pane's id."""
    roles = tuple(roles)
    targets = [Target(worker=worker), *(Target(task=task) for task in tasks)]
    targets += [Target(role=role, host=host) for role in roles if host]
    targets += [Target(role=role) for role in roles]
    targets += [Target(host=host)] if host else []
    return tuple(dict.fromkeys(target.lane for target in [*targets, ANY]))
