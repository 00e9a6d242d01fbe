from __future__ import annotations

import asyncio
import errno
import gc
import os
from pathlib import Path

import psutil
import pytest

from paneview import proc
from paneview.health import ShellProbe, run_probe
from paneview.health.result import MAX_OUTPUT
from tests.harness import Sandbox, eventually
from tests.health.support import MARK, ask

TREE = "sleep 61 & setsid sleep 62 & (setsid sh -c 'sleep 63 & sleep 64' &) ; "


@pytest.mark.parametrize(
    ("command", "ok", "detail", "output"),
    [
        ("echo fine", True, "exit code 0", "fine\n"),
        ("exit 3", False, "exit code 3", ""),
        ("echo one; echo two >&2; echo; exit 1", False, "exit code 1: two", "one\ntwo\n\n"),
        ("kill -TERM $$", False, "ended by SIGTERM", ""),
        ("printf '\\377'; exit 1", False, "exit code 1: \ufffd", "\ufffd"),
        ("no-such-program", False, None, None),
        ("cat", True, "exit code 0", ""),  # nothing to read, rather than a wait for ever
        ('test "$GREETING" = hello && test "$PANEVIEW_RUN" = "$MARK"', True, "exit code 0", ""),
    ],
)
async def test_how_it_ends(command: str, ok: bool, detail: str | None, output: str | None) -> None:
    result = await ask(ShellProbe(10, command), GREETING="hello", MARK=MARK)
    assert result.ok is ok
    assert detail is None or result.detail == detail
    assert output is None or result.output == output
    if detail is None:
        assert result.detail.startswith("exit code 127: ")
        assert "no-such-program" in result.detail


async def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    result = await run_probe(ShellProbe(5, "true"), env=os.environ, cwd=tmp_path / "gone", marker="m")
    assert result.detail == f"the command could not be run in {tmp_path}/gone: No such file or directory"


async def test_time_out_kills_the_whole_tree(sandbox: Sandbox) -> None:
    result = await ask(ShellProbe(0.5, f"echo begun; {TREE} sleep 65"))
    assert (result.ok, result.detail, result.output) == (False, "no answer within 0.5 s: begun", "begun\n")
    assert sandbox.processes() == []


async def test_time_out_of_what_ignores_signals(sandbox: Sandbox) -> None:
    result = await ask(ShellProbe(0.5, "trap '' INT TERM HUP; while :; do sleep 1; done"))
    assert result.detail == "no answer within 0.5 s"
    assert sandbox.processes() == []


async def test_being_cancelled_kills_the_whole_tree(sandbox: Sandbox) -> None:
    probe = asyncio.create_task(ask(ShellProbe(30, f"{TREE} sleep 65")))
    await eventually(lambda: len(sandbox.processes()) >= 6)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert sandbox.processes() == []


async def test_only_its_own_marker_is_killed(sandbox: Sandbox) -> None:
    other = asyncio.create_task(ask(ShellProbe(30, "sleep 66"), f"other-{MARK}"))
    await eventually(lambda: proc.ProcessTable.read().marked(f"other-{MARK}"))
    await ask(ShellProbe(0.2, "sleep 67"))
    assert proc.ProcessTable.read().marked(f"other-{MARK}")
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)


async def test_its_end_is_not_the_end_of_its_output(sandbox: Sandbox) -> None:
    result = await ask(ShellProbe(20, "echo fine; sleep 68 & exit 0"))
    assert (result.ok, result.output) == (True, "fine\n")
    assert result.duration < 15
    await eventually(lambda: not sandbox.processes())


@pytest.mark.parametrize("end", ["exit 1", "sleep 69"])
async def test_a_flood_of_output(end: str) -> None:
    result = await ask(ShellProbe(5 if end == "exit 1" else 1, f"seq 1 300000; echo last; {end}"))
    assert not result.ok
    assert len(result.output.encode()) <= MAX_OUTPUT
    assert result.output.endswith("299999\n300000\nlast\n")


async def test_probes_run_side_by_side() -> None:
    results = await asyncio.gather(*(ask(ShellProbe(20, "sleep 1"), f"side-probe-{n}") for n in range(10)))
    assert all(result.ok for result in results)
    assert sum(result.duration for result in results) > 9


async def test_a_command_that_cannot_be_watched_is_not_left_behind(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()  # what other tests have left is not closed meanwhile
    loop, before = asyncio.get_running_loop(), psutil.Process().num_fds()
    add_reader = loop.add_reader

    def refuse(*_: object) -> None:
        monkeypatch.setattr(loop, "add_reader", add_reader)
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(loop, "add_reader", refuse)
    result = await ask(ShellProbe(20, "sleep 71"))
    assert (result.asked, result.detail) == (False, "it cannot be asked: Too many open files in system")
    assert (sandbox.processes(), psutil.Process().num_fds()) == ([], before)


async def test_nothing_is_left_open() -> None:
    await ask(ShellProbe(5, "true"))
    gc.collect()
    before = psutil.Process().num_fds()
    for command in ("true", "exit 1", "sleep 70"):
        await ask(ShellProbe(0.1, command))
    assert psutil.Process().num_fds() == before
