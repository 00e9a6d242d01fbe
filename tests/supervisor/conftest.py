"""A project with a supervisor of its own, ended with all it started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.harness import Sandbox
from tests.supervisor.project import Project


@pytest.fixture
def project(sandbox: Sandbox) -> Iterator[Callable[[str], Project]]:
    """Make a project of a configuration's text; start it with ``.serve()``."""
    made: list[Project] = []

    def make(text: str, name: str = "proj") -> Project:
        made.append(Project(sandbox, text, name))
        return made[-1]

    yield make
    for one in made:
        one.close()
