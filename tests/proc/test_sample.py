from __future__ import annotations

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

    def begun() -> tuple[Sampler, dict[str, Usage]] | None:
        sampler = Sampler()
        first = sampler.sample(roots, ProcessTable.read(source))
        return (sampler, first) if first["idle"].rss_bytes else None  # which is 0 in the middle of its exec

    sampler, first = wait_until(begun)
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


def test_what_a_tree_uses_is_read_anew_at_each_sample(run: Run, tmp_path: Path) -> None:
    """Also where the look at all processes begins with an earlier one."""
    process = run(BUSY, OUT=str(tmp_path / "pid"))
    pid_from(tmp_path / "pid")
    roots, sampler = {"task": identity(process)}, Sampler()
    sampler.sample(roots)

    def busy() -> bool:
        time.sleep(0.2)
        return sampler.sample(roots)["task"].cpu_percent > 20

    wait_until(busy)
    wait_until(busy)
