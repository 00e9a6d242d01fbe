"""What the project gives to its workflows: where it is, its plans, its secrets, its runners."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.agents.folder import worktrees_dir
from paneview.agents.redact import Redactor
from paneview.config import paths

if TYPE_CHECKING:
    from paneview.config.models import Project
    from paneview.rules.workflow import PhasePlan

SLACK = 60.0  # seconds that a job may take longer than its runner's own limit


@dataclass(frozen=True, slots=True)
class Home:
    """A project on a host, as its file is now."""

    project: Project
    folder: Path
    """Its state folder."""
    environ: Mapping[str, str]
    """What its shell commands inherit."""
    name: str
    """Host and project: whose workflows are advanced here. It outlives another name of the host (see `named`)."""

    @property
    def worktrees(self) -> Path:
        """Where its worktrees lie."""
        return worktrees_dir(self.folder)

    @property
    def masker(self) -> Redactor:
        """What masks its secrets, and what looks like anybody's."""
        return Redactor(self.project.secret_values)

    @property
    def shared(self) -> bool:
        """Other hosts may work for its queue."""
        return not self.project.queue.broker.startswith("sqlite")

    @classmethod
    def named(cls, project: Project, folder: Path, environ: Mapping[str, str]) -> Home:
        """By the name that it was first known by, which is noted in its folder: a workflow belongs to it for good.

        A laptop's host name changes with the network that it is in; by that, nobody would go on with what it began.
        """
        key = paths.project_key(project.file)
        note = folder / "home"
        with suppress(OSError, UnicodeDecodeError):
            if (name := note.read_text().strip()).endswith(f":{key}"):
                return cls(project, folder, environ, name)
        name, draft = f"{project.queue.here}:{key}", folder / "home.draft"
        with suppress(OSError):  # a full disk: noted next time
            draft.write_text(f"{name}\n")
            draft.replace(note)
        return cls(project, folder, environ, name)

    def timeout(self, plan: PhasePlan) -> float:
        """Seconds that a phase's job may take."""
        if plan.timeout is not None:
            return plan.timeout
        try:
            return self.project.agents.runner(plan.role).timeout + SLACK
        except KeyError:
            return 3600.0 + SLACK
