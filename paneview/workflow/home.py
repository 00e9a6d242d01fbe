"""What the project gives to its workflows: where it is, its plans, its secrets, its runners."""

from __future__ import annotations

from collections.abc import Mapping
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

    @property
    def name(self) -> str:
        """Host and project: whose workflows are advanced here."""
        return f"{self.project.queue.here}:{paths.project_key(self.project.file)}"

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

    def timeout(self, plan: PhasePlan) -> float:
        """Seconds that a phase's job may take."""
        if plan.timeout is not None:
            return plan.timeout
        try:
            return self.project.agents.runner(plan.role).timeout + SLACK
        except KeyError:
            return 3600.0 + SLACK
