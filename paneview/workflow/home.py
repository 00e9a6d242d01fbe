"""What a project provides for its workflows: its location, plans, secrets and runners."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.agents.folder import worktrees_dir
from paneview.agents.redact import Redactor
from paneview.broker.model import MOST_SECONDS
from paneview.config import paths

if TYPE_CHECKING:
    from paneview.config.models import Project
    from paneview.rules.workflow import PhasePlan

SLACK = 60.0  # seconds a job may take beyond its runner's own limit


@dataclass(frozen=True, slots=True)
class Home:
    """A project on a host, according to its current file."""

    project: Project
    folder: Path
    """Its state folder."""
    environ: Mapping[str, str]
    """The environment its shell commands inherit."""
    name: str
    """Host and project, to which the workflows belong; stable even if the host's name changes (see `named`)."""

    @property
    def worktrees(self) -> Path:
        """The parent of its worktrees."""
        return worktrees_dir(self.folder)

    @property
    def masker(self) -> Redactor:
        """A masker for the project's secrets and for text in the format of a token."""
        return Redactor(self.project.secret_values)

    @property
    def shared(self) -> bool:
        """Whether other hosts may take jobs from its queue."""
        return not self.project.queue.broker.startswith("sqlite")

    @classmethod
    def named(cls, project: Project, folder: Path, environ: Mapping[str, str]) -> Home:
        """The home under its first name, which is stored in its folder, because workflows belong to it permanently.

        A laptop's host name changes with its network; under a new name, its workflows would not be continued.
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
        """Seconds a phase's job may take."""
        if plan.timeout is not None:
            return min(plan.timeout, MOST_SECONDS)
        try:
            return min(self.project.agents.runner(plan.role).timeout + SLACK, MOST_SECONDS)
        except KeyError:
            return 3600.0 + SLACK
