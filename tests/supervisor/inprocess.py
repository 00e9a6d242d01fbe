"""A supervisor in the test's own process, so that a test can break its parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from paneview.config import paths
from paneview.config.load import load_project
from paneview.supervisor.host import Host, Options
from tests.harness import Sandbox


@asynccontextmanager
async def supervising(sandbox: Sandbox, text: str) -> AsyncIterator[Host]:
    """Supervise a project with this configuration; at the end all its tasks are killed."""
    file = sandbox.root / "paneview.toml"
    file.write_text(f'name = "proj"\n{text}')
    project = load_project(file, os.environ)
    host = Host(project, os.environ, paths.make_project_dir(project.file, project.name), Options())
    await host.open()
    try:
        yield host
        await asyncio.wait_for(host.supervisor.kill(list(host.supervisor.units), "test"), 20)
    finally:
        host.end("the test is over")
        await host.close("the test is over")


def fails_once(real: Callable[..., Any], fault: Exception) -> Callable[..., Any]:
    """A stand-in for ``real`` that raises ``fault`` at its first call."""
    faults = [fault]

    def stand_in(*args: Any, **more: Any) -> Any:
        if faults:
            raise faults.pop()
        return real(*args, **more)

    return stand_in
