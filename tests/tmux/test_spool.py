from __future__ import annotations

import asyncio
import os
import signal

import pytest

from paneview.proc import ProcessTable, command_line
from paneview.proc.row import Row
from paneview.tmux import writers
from paneview.tmux.errors import TmuxError
from tests.harness import eventually
from tests.tmux.conftest import Bench

LINES = "".join(f"{n}\n" for n in range(1, 2001))


async def test_nothing_of_a_first_burst_is_lost(bench: Bench) -> None:
    """2,000 lines and an immediate end, many times and many at once."""
    for _ in range(3):
        panes = await asyncio.gather(*(bench.spawn("seq 1 2000") for _ in range(10)))
        await asyncio.gather(*(bench.ended(pane) for pane in panes))
        for pane in panes:
            assert await bench.logged(pane.run, "\n2000\n") == LINES
            await bench.session.remove_pane(pane.pane_id)


async def test_a_last_line_without_an_end_and_odd_bytes(bench: Bench) -> None:
    pane = await bench.spawn("printf 'a\\000b\\377\\033[31m%03000d\\rx' 1")
    await bench.ended(pane)
    await eventually(lambda: bench.log(1).endswith("\rx"))
    (file,) = (bench.folder / "spool").iterdir()
    assert file.read_bytes() == b"a\0b\xff\x1b[31m" + b"0" * 2999 + b"1\rx"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.name == "1.000000"


async def test_long_output_goes_to_several_files(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "PART", "64k")
    pane = await bench.spawn("seq 1 100000")
    await bench.ended(pane)
    assert await bench.logged(1, "\n100000\n") == "".join(f"{n}\n" for n in range(1, 100_001))
    names = sorted(file.name for file in (bench.folder / "spool").iterdir())
    assert names == [f"1.{n:06d}" for n in range(len(names))]
    assert len(names) > 5


async def test_a_lost_pipe_is_seen_and_attached_again(bench: Bench) -> None:
    pane = await bench.spawn(
        "while [ ! -e go ]; do sleep 0.02; echo lost; done; echo second; exec sleep 1000"
    )
    await bench.logged(1, "lost")
    writer = next(row for row in ProcessTable.read().rows.values() if _is_writer(row, bench))
    os.kill(writer.pid, signal.SIGKILL)

    async def unpiped() -> bool:
        return not (await bench.session.panes())[0].piped

    await eventually(unpiped)
    assert await bench.session.attach_pipe(pane.pane_id, bench.specs[1].spool_prefix) == 1000
    again = (await bench.session.panes())[0]
    assert (again.piped, again.pipes, again.run) == (True, 2, 1)
    (bench.folder / "go").touch()
    assert "second\n" in await bench.logged(1, "second")
    assert sorted(file.name for file in (bench.folder / "spool").iterdir()) == ["1.000000", "1.001000"]


async def test_no_pipe_for_a_dead_pane(bench: Bench) -> None:
    pane = await bench.spawn("true")
    await bench.ended(pane)
    with pytest.raises(TmuxError, match="exited"):
        await bench.session.attach_pipe(pane.pane_id, bench.specs[1].spool_prefix)


async def test_a_path_with_everything_in_it(bench: Bench) -> None:
    odd = bench.folder / "a 'b' \"c\" #{pid} #[d] %H $HOME `id` \\;"
    odd.mkdir()
    pane = await bench.spawn("echo hello", spool_prefix=odd / "1.", exit_file=odd / "code")
    assert (await bench.ended(pane)).code == 0
    await eventually(lambda: (odd / "1.000000").exists() and (odd / "1.000000").read_bytes() == b"hello\r\n")
    assert (odd / "code").read_text() == "0\n"


async def test_without_gnu_split(bench: Bench) -> None:
    bench.session.writers.split = None
    pane = await bench.spawn("seq 1 2000")
    await bench.ended(pane)
    assert await bench.logged(1, "\n2000\n") == LINES
    assert [file.name for file in (bench.folder / "spool").iterdir()] == ["1.000000"]


async def test_output_before_the_servers_death_is_kept(bench: Bench) -> None:
    await bench.spawn("seq 1 2000; exec sleep 1000")
    await bench.logged(1, "\n2000\n")
    os.kill(bench.session.server_id.pid, signal.SIGKILL)
    await eventually(lambda: bench.session.gone)
    assert bench.log(1) == LINES


def _is_writer(row: Row, bench: Bench) -> bool:
    return row.name == "split" and str(bench.folder) in " ".join(command_line(row.pid))
