from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.support import run

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@pytest.fixture
def live(project: Path, tmux_socket: str) -> Iterator[Path]:
    """The project; any supervisor that a test starts for it is taken down."""
    yield project
    run("down", cwd=project)
