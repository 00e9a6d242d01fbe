from __future__ import annotations

import os
import time
from pathlib import Path

from paneview.proc import ProcessTable, Sampler, Usage
from paneview.proc.row import Backend
from tests.harness import wait_until
from tests.proc.conftest import Run, identity, pid_from

BUSY = "sh -c 'echo $$ > $OUT; while :; do :; done' & wait"


def test_cpu_and_memory_of_the_whole_tree(run: Run, source: Backend, tmp_path: Path) -> None:
    busy, idle = run(BUSY, OUT=str(tmp_path / "pid")), run("exec sleep 60")
    pid_from(tmp_path / "pid")
    roots = {"busy": identity(busy, source), "idle": identity(idle, source)}
    wait_until(
        lambda: Sampler().sample(roots, ProcessTable.read(source))["idle"].rss_bytes
    )  # its exec is over
    sampler = Sampler()
    first = sampler.sample(roots, ProcessTable.read(source))
    assert first["busy"].cpu_percent == 0.0
    assert first["busy"].processes == 2
    assert first["busy"].rss_bytes > first["idle"].rss_bytes > 0

    def used() -> Usage | None:
        time.sleep(0.2)
        usage = sampler.sample(roots, ProcessTable.read(source))
        assert usage["idle"].cpu_percent < 20
        return usage["busy"] if usage["busy"].cpu_percent > 20 else None

    assert wait_until(used).cpu_percent < 150


def test_what_has_ended_is_left_out(run: Run) -> None:
    process = run("exec sleep 60")
    roots = {"task": identity(process)}
    process.kill()
    process.wait()
    assert Sampler().sample(roots) == {}


def test_a_tree_that_is_new_starts_at_zero(run: Run, tmp_path: Path) -> None:
    sampler = Sampler()
    sampler.sample({})
    process = run(BUSY, OUT=str(tmp_path / "pid"))
    pid_from(tmp_path / "pid")
    time.sleep(0.05)
    assert sampler.sample({"task": identity(process)}, ProcessTable.read())["task"].cpu_percent == 0.0


def test_strangers_are_looked_at_again_only_now_and_then_and_what_is_new_at_once(
    run: Run, tmp_path: Path
) -> None:
    stranger = run("exec sleep 60")
    process = run(
        "read go < $GATE; sleep 60 & echo $! > $OUT; wait", OUT=str(tmp_path / "pid"), GATE=_gate(tmp_path)
    )
    roots = {"task": identity(process)}
    sampler = Sampler()
    assert stranger.pid in sampler.look(roots).rows
    assert stranger.pid not in sampler.look(roots).rows
    (tmp_path / "gate").write_text("go\n")
    child = pid_from(tmp_path / "pid")
    found = sampler.look(roots)
    assert {process.pid, child} <= found.rows.keys()
    assert stranger.pid not in found.rows
    assert sampler.sample(roots)["task"].processes == 2
    assert stranger.pid in sampler.look({**roots, "other": identity(stranger)}).rows


def _gate(folder: Path) -> str:
    os.mkfifo(folder / "gate")
    return str(folder / "gate")
