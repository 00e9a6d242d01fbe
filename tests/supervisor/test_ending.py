"""How a run has ended, where that is not plain."""

from __future__ import annotations

import os

import pytest

from paneview.supervisor.ending import Ender
from paneview.supervisor.live import Live
from paneview.supervisor.terminal import SessionSpec, Terminal
from paneview.tmux.errors import TmuxGone
from tests.harness import Sandbox


async def test_what_a_run_dies_with_that_lost_its_terminal_is_not_its_own(
    sandbox: Sandbox, tmux_socket: str
) -> None:
    """A worker that hears the hang-up ends well, perhaps with the next tmux there already: it is to come back."""
    spec = SessionSpec("proj", tmux_socket, "key", os.environ, sandbox.root, ("sleep", "1000"))
    terminal = Terminal(spec)
    await terminal.open()
    try:
        live = Live(1, "%99", "@99", None, "run", sandbox.root / "exit", sandbox.root / "spool")
        live.exit_file.write_text("0\n")
        ender = Ender(terminal)
        assert (await ender.exit_of(live)).success
        live.lost = True
        with pytest.raises(TmuxGone):
            await ender.exit_of(live)
    finally:
        await terminal.destroy()
