from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import replace

from paneview.proc import identify, send
from paneview.tmux.exits import UNKNOWN, exit_status, told
from paneview.tmux.guard import ExitStatus
from paneview.tmux.spawn import PaneInfo, parse_pane
from tests.harness import eventually
from tests.tmux.conftest import Bench

PANE = PaneInfo("%1", "@1", "t", 1, 1234)


async def test_a_hundred_exits_with_their_true_codes(bench: Bench) -> None:
    dice = random.Random(7)
    expected: list[ExitStatus] = []

    def command() -> str:
        if dice.random() < 0.3:
            number = dice.choice(
                [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT, signal.SIGHUP]
            )
            expected.append(ExitStatus(128 + number, int(number)))
            return f"sh -c 'kill -{int(number)} $$'"
        expected.append(ExitStatus.of_code(dice.randrange(256)))
        return f"sleep 0.0{dice.randrange(10)}; exit {expected[-1].code}"

    found: list[ExitStatus] = []
    panes = await asyncio.gather(*(bench.spawn(command()) for _ in range(25)))
    for _ in range(4):
        found += await asyncio.gather(*(bench.ended(pane) for pane in panes))
        panes = await asyncio.gather(
            *(bench.session.respawn(pane.pane_id, bench.spec(command())) for pane in panes)
        )
    found += await asyncio.gather(*(bench.ended(pane) for pane in panes))
    assert found == expected
    assert len(found) == 125


async def test_dead_panes_show_their_status(bench: Bench) -> None:
    """Also those of which tmux had not noticed: the person who looks at the window wants to know."""
    panes = await asyncio.gather(*(bench.spawn(f"exit {n}") for n in range(20)))
    await asyncio.gather(*(bench.ended(pane) for pane in panes))

    async def statuses() -> bool:
        return [pane.status for pane in await bench.session.panes()] == list(range(20))

    await eventually(statuses)


def test_a_dead_pane_may_have_no_process_number() -> None:
    # So says tmux 3.8; up to 3.7 it keeps the one that it had.
    line = "%1\t@1\t{}\t$0\t1\t0\tkey-1\t1\t77\t\t\tt"
    old, new = (parse_pane(line.format(pid)) for pid in ("1234", ""))
    assert old
    assert new == replace(old, pid=0)
    assert told(new) == ExitStatus.of_code(77)


async def test_a_killed_guard(bench: Bench) -> None:
    """tmux tells of the guard that was killed, the guard's file of the task that its hang-up ended: both are true."""
    pane = await bench.spawn("exec sleep 1000")
    process = identify(pane.pid)
    assert process
    send(signal.SIGKILL, [process])
    assert await bench.ended(pane) in (ExitStatus(137, 9), ExitStatus(129, 1))


async def test_by_the_file_alone_after_the_servers_death(bench: Bench) -> None:
    """The server dies, and with it the terminals: what ended before, of the hang-up and after it is all known."""
    before = await bench.spawn("exit 3")
    process = identify(before.pid)
    hung_up = await bench.spawn("echo ready; exec sleep 1000")
    stubborn = await bench.spawn("trap '' HUP; echo ready; while [ ! -e go ]; do sleep 0.1; done; exit 42")
    await eventually(lambda: process is None or identify(before.pid) is None)
    await bench.logged(2, "ready")
    await bench.logged(3, "ready")
    os.kill(bench.session.server_id.pid, signal.SIGKILL)
    assert await bench.ended(before) == ExitStatus(3)
    assert await bench.ended(hung_up) == ExitStatus(129, 1)
    (bench.folder / "go").touch()
    await eventually(bench.specs[3].exit_file.exists)
    assert await bench.ended(stubborn) == ExitStatus(42)


async def test_nobody_knows(bench: Bench) -> None:
    pane = await bench.spawn("exec sleep 1000")
    process = identify(pane.pid)
    assert process
    os.kill(bench.session.server_id.pid, signal.SIGSTOP)
    send(signal.SIGKILL, [process])
    os.kill(bench.session.server_id.pid, signal.SIGKILL)
    await eventually(lambda: bench.session.gone)

    async def gone() -> None:
        return None

    assert await exit_status(gone, bench.session.server_id.pid, bench.folder / "none") == UNKNOWN


async def test_output_is_waited_for(bench: Bench) -> None:
    """The guard's word alone does not do while tmux still has output of the run to hand on."""
    looks = [PANE, PANE, PaneInfo("%1", "@1", "t", 1, 1234, dead=True)]
    (bench.folder / "code").write_text("5\n")

    async def look() -> PaneInfo:
        return looks.pop(0)

    assert await exit_status(look, bench.session.server_id.pid, bench.folder / "code") == ExitStatus(5)
    assert not looks


async def test_a_terminal_that_is_held_open(bench: Bench) -> None:
    """tmux tells no pane as dead as long as somebody may still write, but it knows how the process ended."""
    told_alive = PaneInfo("%1", "@1", "t", 1, 1234, signal="2")

    async def look() -> PaneInfo:
        return told_alive

    server = bench.session.server_id.pid
    assert await exit_status(look, server, bench.folder / "none") == ExitStatus(130, 2)


def test_what_tmux_tells() -> None:
    def dead(status: int | None, name: str | None) -> ExitStatus | None:
        return told(PaneInfo("%1", "@1", "t", 1, 1, dead=True, status=status, signal=name))

    assert dead(None, None) is None
    assert dead(3, None) == ExitStatus(3)
    assert dead(None, "15") == dead(None, "TERM") == dead(None, "SIGTERM") == ExitStatus(143, 15)
