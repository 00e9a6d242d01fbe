from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Sandbox


@pytest.fixture
def path(sandbox: Sandbox) -> Path:
    """Where the test's control socket goes."""
    return sandbox.root / "project" / "control.sock"
