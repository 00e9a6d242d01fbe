"""A real session on the test's private tmux server, and a folder for what its tasks leave."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from paneview.proc import ExitWatch, identify, kill_until_gone
from paneview.tmux.guard import ExitStatus
from paneview.tmux.session import TmuxSession
from paneview.tmux.spawn import PaneInfo, SpawnSpec
from tests.harness import DEADLINE, Sandbox, eventually

NAME = "proj"
# In a session that shows nothing, the first window.
HUB = ["sleep", "1000"]

Open = Callable[..., Awaitable[TmuxSession]]


@dataclass
class Bench:
    """Where tasks run and what they leave."""

    session: TmuxSession
    folder: Path
    key: str
    """The project's, different in each test: processes are found by it, machine-wide."""
    runs: int = 0
    specs: dict[int, SpawnSpec] = field(default_factory=dict)

    def spec(self, command: str, **changes: object) -> SpawnSpec:
        """The next run of a task "t" with this command."""
        self.runs += 1
        fields = {
            "task": "t",
            "run": self.runs,
            "command": command,
            "cwd": self.folder,
            "spool_prefix": self.folder / "spool" / f"{self.runs}.",
            "exit_file": self.folder / "exits" / str(self.runs),
        }
        spec = SpawnSpec(**{**fields, **changes})  # type: ignore[arg-type]
        self.specs[spec.run] = spec
        return spec

    async def spawn(self, command: str, **changes: object) -> PaneInfo:
        """Run a command in a new pane."""
        return await self.session.spawn(self.spec(command, **changes))

    async def ended(self, pane: PaneInfo) -> ExitStatus:
        """Wait for the end of the pane's process; how it ended."""
        process = identify(pane.pid)
        if process:
            watch = ExitWatch()
            await watch.wait(process)
            watch.close()
        return await self.session.exit_status(pane.pane_id, self.specs[pane.run].exit_file)

    def log(self, run: int) -> str:
        """What the spool has of a run; "" if nothing yet."""
        files = sorted((self.folder / "spool").glob(f"{run}.*"))
        return b"".join(file.read_bytes() for file in files).decode("utf-8", "replace").replace("\r\n", "\n")

    async def logged(self, run: int, text: str) -> str:
        """Wait until the spool of a run holds this text; all of it."""
        await eventually(lambda: text in self.log(run))
        return self.log(run)


@pytest.fixture
def folder(sandbox: Sandbox) -> Path:
    """The project's folder, with room for spool and exit files."""
    folder = sandbox.root / "project"
    for name in ("spool", "exits"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def key(sandbox: Sandbox) -> str:
    """The project's key."""
    return sandbox.marker[:10]


@pytest.fixture
async def open_session(tmux_socket: str, folder: Path, key: str) -> AsyncIterator[Open]:
    """Open our session as often as one likes; all clients are closed and all tasks ended with the test."""
    opened: list[TmuxSession] = []

    async def open_session(name: str = NAME, project: str = key, **environ: str) -> TmuxSession:
        session = await TmuxSession.open(name, None, project, {**os.environ, **environ}, folder, HUB)
        opened.append(session)
        return session

    yield open_session
    for session in opened:
        await session.close()


@pytest.fixture
async def bench(open_session: Open, folder: Path, key: str) -> AsyncIterator[Bench]:
    """A session and its tools."""
    bench = Bench(await open_session(), folder, key)
    yield bench
    assert await kill_until_gone(lambda table: set().union(*table.marked(key).values()), DEADLINE)
