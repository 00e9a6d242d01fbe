"""A project with its own supervisor, which is ended with all it has started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.harness import Sandbox
from tests.supervisor.project import Project


@pytest.fixture
def project(sandbox: Sandbox) -> Iterator[Callable[[str], Project]]:
    """Make a project from the text of a configuration; start it with ``.serve()``."""
    made: list[Project] = []

    def make(text: str, name: str = "proj") -> Project:
        made.append(Project(sandbox, text, name))
        return made[-1]

    yield make
    for one in made:
        one.close()
