from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Sandbox

FILE = """\
name = "demo"

[tasks.db]
command = "sleep 1000"

[tasks.web]
command = "sleep 1000"
depends_on = ["db"]

[tasks.job]
command = "true"
auto_start = false
"""


@pytest.fixture
def project(sandbox: Sandbox) -> Path:
    """A folder with a paneview.toml of three tasks."""
    folder = sandbox.root / "demo"
    folder.mkdir()
    (folder / "paneview.toml").write_text(FILE)
    return folder
