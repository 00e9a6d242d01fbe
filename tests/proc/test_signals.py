from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paneview.proc import (
    MARKER,
    ExitWatch,
    ProcessId,
    ProcessTable,
    identify,
    interrupt,
    is_alive,
    kill_until_gone,
    send,
    wait_gone,
)
from tests.harness import NO_DESCRIPTORS, eventually, wait_until
from tests.proc.conftest import Run, identity, pid_from

# Leaves tree and session twice over, and ignores what can be ignored.
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
if os.fork(): time.sleep(60)
os.setsid()
if os.fork(): os._exit(0)
print(os.getpid(), file=open(sys.argv[1], "w"), flush=True)
time.sleep(60)
"""


async def test_a_stubborn_double_fork_is_found_and_ended(run: Run, tmp_path: Path, key: str) -> None:
    process = run('exec "$PY" -c "$CODE" "$OUT"', PY=sys.executable, CODE=STUBBORN, OUT=str(tmp_path / "pid"),
                  **{MARKER: key})  # fmt: skip
    hidden = pid_from(tmp_path / "pid")
    root = identity(process)

    def find(table: ProcessTable) -> set[ProcessId]:
        return table.members(root, key, process.pid)

    assert hidden in {found.pid for found in find(ProcessTable.read())}
    send(signal.SIGTERM, find(ProcessTable.read()))
    assert not await wait_gone(find, 0.1)
    began = time.monotonic()
    assert await kill_until_gone(find, 10)
    assert time.monotonic() - began < 5
    assert identify(hidden) is None


async def test_wait_gone_returns_with_the_last_one(run: Run, key: str) -> None:
    processes = [run("exec sleep 60", **{MARKER: key}) for _ in range(4)]
    ids = [identity(process) for process in processes]
    waiting = asyncio.create_task(wait_gone(lambda table: table.members(None, key), 20))
    for this in ids:
        assert not waiting.done()
        send(signal.SIGKILL, [this])
        await eventually(lambda this=this: not is_alive(this))
    assert await waiting


async def test_wait_gone_sees_what_was_born_meanwhile(run: Run, tmp_path: Path, key: str) -> None:
    """Each starts its successor, in a session of its own, just before it ends."""
    chain = 'n=$((N-1)); [ $n -ge 0 ] && N=$n setsid sh -c "$SELF" & sleep 0.02'
    run(chain, N="10", SELF=chain, **{MARKER: key})
    assert await wait_gone(lambda table: table.members(None, key), 20)
    assert not ProcessTable.read().marked(key)


async def test_a_fork_bomb_of_sorts_is_ended(run: Run, key: str) -> None:
    run("while :; do sleep 0.01 & done", **{MARKER: key})
    wait_until(lambda: len(ProcessTable.read().members(None, key)) > 3)
    assert await kill_until_gone(lambda table: table.members(None, key), 20)


async def test_nothing_there_is_gone(run: Run) -> None:
    assert await wait_gone(lambda _: set(), 1)


async def test_a_given_watch_stays_open(run: Run, key: str) -> None:
    watch = ExitWatch()
    process = run("exec sleep 60", **{MARKER: key})
    this = identity(process)
    waiting = asyncio.create_task(wait_gone(lambda _: {this} if is_alive(this) else set(), None, watch))
    await asyncio.sleep(0)
    process.kill()
    assert await asyncio.wait_for(waiting, 10)
    watch.close()


def test_a_signal_goes_to_no_one_else(run: Run) -> None:
    process = run("exec sleep 60")
    this = identity(process)
    assert send(signal.SIGKILL, [ProcessId(this.pid, this.start - 1), ProcessId(2**22 + 1, 1)]) == set()
    assert is_alive(this)
    assert send(signal.SIGKILL, [this]) == {this}
    assert process.wait() == -signal.SIGKILL


SEND = """
import signal, sys
from paneview import proc
proc.keep_spare()
this = proc.ProcessId(int(sys.argv[1]), int(sys.argv[2]))
exec(sys.argv[3])
print(proc.send(signal.SIGTERM, [this._replace(start=this.start + 1)]), proc.send(signal.SIGTERM, [this]) == {this})
"""


def test_a_signal_is_sent_without_a_descriptor_left(run: Run) -> None:
    process = run("exec sleep 60")
    this = identity(process)
    asked = [sys.executable, "-c", SEND, str(this.pid), str(this.start), NO_DESCRIPTORS]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.stdout == "set() True\n", done.stderr
    assert process.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_interrupt_reaches_the_foreground_group(number: signal.Signals, tmp_path: Path) -> None:
    """Of a shell with job control, only what runs in the foreground is hit."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
    try:
        out = tmp_path / "pid"
        os.write(terminal, f"sleep 60 &\nsh -c 'echo $$ > {out}; exec sleep 61'\n".encode())
        child = pid_from(out)
        shell, sleeper = identify(pid), identify(child)
        assert shell
        assert sleeper
        wait_until(lambda: (r := ProcessTable.read().rows.get(pid)) and r.foreground == child)
        wait_until(lambda: len(_sleeping(pid)) == 2)
        assert interrupt(shell, number)
        wait_until(lambda: not is_alive(sleeper))
        assert is_alive(shell)
        assert _sleeping(pid)
    finally:
        send(signal.SIGKILL, ProcessTable.read().members(identify(pid), "", pid))
        os.close(terminal)
        os.waitpid(pid, 0)


def test_interrupt_lets_a_terminal_go_on_that_is_held(tmp_path: Path) -> None:
    """After Ctrl-S a program waits in its next write, and who says farewell on Ctrl-C would wait for ever."""
    pid, terminal = pty.fork()
    if pid == 0:
        farewell = "trap 'echo farewell; exit 7' INT; while :; do echo up; sleep 0.01; done"
        os.execv("/bin/sh", ["sh", "-c", farewell])
    try:
        seen = b""
        while b"up" not in seen:
            seen += os.read(terminal, 1024)
        os.write(terminal, b"\x13")
        while select.select([terminal], [], [], 0.3)[0]:  # the kernel takes its time
            os.read(terminal, 1024)
        program = identify(pid)
        assert program
        assert interrupt(program)
        while b"farewell" not in seen:
            assert select.select([terminal], [], [], 10)[0]
            seen += os.read(terminal, 1024)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        pid = 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


def _sleeping(leader: int) -> list[int]:
    return [row.pid for row in ProcessTable.read().session(leader) if row.name == "sleep"]


def test_interrupt_without_terminal_takes_the_group(run: Run) -> None:
    process = run("sleep 60 & wait")
    assert interrupt(identity(process))
    assert process.wait() == -signal.SIGINT
    assert not interrupt(ProcessId(process.pid, 1))


def test_interrupt_spares_the_server_whose_fork_leads_no_session_yet(run: Run, tmp_path: Path) -> None:
    """tmux makes a pane's session only after the fork: until then the fork's group is the server's own."""
    server = run("sleep 60 & echo $! >$OUT; wait", OUT=str(tmp_path / "pid"))
    fork = identify(pid_from(tmp_path / "pid"))
    assert fork
    assert ProcessTable.read().rows[fork.pid].group == server.pid
    assert interrupt(fork)
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(0.2)
    assert is_alive(fork)
