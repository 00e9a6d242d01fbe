from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.harness import Sandbox, end_all
from tests.parity.place import Place


@pytest.fixture
def new_place(sandbox: Sandbox) -> Iterator[Callable[[str], Place]]:
    """Makes project folders; whatever runs for them is ended after the test."""
    made: list[Place] = []

    def make(name: str) -> Place:
        made.append(Place(sandbox, name))
        return made[-1]

    yield make
    for one in made:
        one.run("down")
    sandbox.end_tmux()
    end_all(sandbox.processes())


@pytest.fixture
def place(new_place: Callable[[str], Place]) -> Place:
    """A project folder without a file yet."""
    return new_place("shop")
