from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import Sandbox
from tests.worker.support import Farm, farm_in


@pytest.fixture
def farm(sandbox: Sandbox) -> Iterator[Farm]:
    """A queue, and workers that end with the test."""
    with farm_in(sandbox.root / "farm") as made:
        yield made
