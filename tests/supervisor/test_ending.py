"""How a run has ended, in cases that are not obvious."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest

from paneview import proc
from paneview.rules import stopping
from paneview.rules.states import TaskPhase
from paneview.supervisor.runs import ending
from paneview.supervisor.runs.ending import Ender
from paneview.supervisor.runs.live import Live
from paneview.supervisor.terminal import SessionSpec, Terminal
from paneview.tmux.errors import TmuxGone
from paneview.tmux.session import TmuxSession
from tests.harness import Sandbox, eventually
from tests.supervisor.inprocess import supervising


async def test_what_a_run_dies_with_that_lost_its_terminal_is_not_its_own(
    sandbox: Sandbox, tmux_socket: str
) -> None:
    """A worker exits with 0 on the hang-up, perhaps when a new tmux is there already: it must be restarted."""
    spec = SessionSpec("proj", tmux_socket, "key", os.environ, sandbox.root, ("sleep", "1000"))
    terminal = Terminal(spec)
    await terminal.open()
    try:
        live = Live(1, "%99", "@99", None, "run", sandbox.root / "exit", sandbox.root / "spool")
        live.exit_file.write_text("0\n")
        ender = Ender(terminal, print)
        assert (await ender.exit_of(live)).success
        live.lost = True
        with pytest.raises(TmuxGone):
            await ender.exit_of(live)
    finally:
        await terminal.destroy()


@pytest.mark.parametrize(
    ("part", "name", "what", "exit_code"),
    [(TmuxSession, "exit_status", "the exit", None), (Ender, "sweep", "what is left", 143)],
)
async def test_a_defect_beside_a_run_s_end_keeps_it_from_nobody(
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    part: object,
    name: str,
    what: str,
    exit_code: int | None,
) -> None:
    async def defect(*_args: object, **_more: object) -> None:
        raise RuntimeError("a defect")

    async with supervising(sandbox, '[tasks.t]\ncommand = "exec sleep 612"\nrestart_policy = "no"') as host:
        unit = host.supervisor.unit("t")
        await eventually(lambda: unit.live and unit.live.hears())  # else the guard defers the signal
        with monkeypatch.context() as broken:
            broken.setattr(ending, "TRIES", (0.01, 0.01))
            broken.setattr(part, name, defect)
            proc.send(signal.SIGTERM, await host.ender.look(unit.live))
            await eventually(lambda: unit.state.phase is TaskPhase.FAILED)
        assert (unit.live, unit.state.exit.code) == (None, exit_code)
        await host.journal.durable()
        told = await host.store.events(kinds=["internal_error"])
        assert {event.cause for event in told} == {f"{what} of run 1: RuntimeError('a defect')"}


async def test_what_was_paused_gets_to_end_well(sandbox: Sandbox) -> None:
    text = """
        [tasks.t]
        command = "trap 'kill $!; exit 7' INT; sleep 613 & echo $! > up; wait"
        stop_grace_period = 1
        """
    async with supervising(sandbox, text) as host:
        unit = host.supervisor.unit("t")
        up = sandbox.root / "up"
        await eventually(lambda: unit.live and unit.live.command_pid() and up.exists() and up.read_text())
        paused = await host.ender.look(unit.live) - {unit.live.root}  # tmux lets that go on itself
        proc.send(signal.SIGSTOP, paused)
        await eventually(lambda: {psutil.Process(one.pid).status() for one in paused} == {"stopped"})
        await host.supervisor.stop(["t"], "test")
        assert (unit.state.phase, unit.state.exit.code) == (TaskPhase.STOPPED, 7)


async def test_a_defect_that_comes_again_during_a_stop_is_told_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def defect(live: Live, _table: object) -> None:
        looks.append(live.run)
        raise RuntimeError("a defect")

    text = '[tasks.t]\ncommand = "exec sleep 616"\nstop_signal = "SIGWINCH"\nstop_grace_period = 0.05'
    async with supervising(sandbox, text) as host:
        unit = host.supervisor.unit("t")
        await eventually(lambda: unit.state.phase is TaskPhase.RUNNING)
        with monkeypatch.context() as broken:
            broken.setattr(ending, "AGAIN", 0.05)
            broken.setattr(stopping, "KILL_AGAIN", 0.02)
            broken.setattr(ending, "members", defect)
            stop = asyncio.create_task(host.supervisor.stop(["t"], "test"))
            await eventually(lambda: len(looks) > 8)
        await asyncio.wait_for(stop, 20)
        await host.journal.durable()
        told = sorted(event.cause for event in await host.store.events(kinds=["internal_error"]))
        assert told == [f"{what} run 1: RuntimeError('a defect')" for what in ("signals to", "the end of")]


async def test_a_stop_is_answered_though_a_listener_fails(sandbox: Sandbox) -> None:
    def defect(_name: str) -> None:
        raise RuntimeError("a defect")

    async with supervising(sandbox, '[tasks.t]\ncommand = "exec sleep 613"') as host:
        host.supervisor.listeners.insert(0, defect)
        await asyncio.wait_for(host.supervisor.stop(["t"], "test"), 20)
        await host.journal.durable()
        told = await host.store.events(kinds=["internal_error"])
        assert {event.cause for event in told} == {"telling of t: RuntimeError('a defect')"}
