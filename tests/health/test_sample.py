"""`sample.toml` keeps its promises: each of its commands runs, with nothing but a shell and Python."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paneview.config.load import load_project
from paneview.config.models import Project, Task
from paneview.health import LogMatcher, ProbeSpec, run_probe
from tests.harness import eventually, free_port

FILE = Path(__file__).parents[2] / "sample.toml"


@pytest.fixture
def project() -> Project:
    ports = {"SAMPLE_WEB_PORT": str(free_port()), "SAMPLE_STORE_PORT": str(free_port())}
    return load_project(FILE, {**os.environ, **ports})


@contextmanager
def running(task: Task, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["sh", "-c", task.command], cwd=task.cwd, env={**os.environ, **task.env}, stdout=file,
            stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(20)


async def healthy(task: Task) -> bool:
    spec = ProbeSpec.of(task)
    assert spec
    return (await run_probe(spec, env=os.environ, cwd=task.cwd, marker=f"sample{os.getpid()}-probe")).ok


async def test_the_site(project: Project, tmp_path: Path) -> None:
    log = tmp_path / "load"
    with running(project.tasks["prepare"], tmp_path / "prepare") as prepare:
        assert prepare.wait(20) == 0
    with running(project.tasks["web"], tmp_path / "web"):
        await eventually(lambda: healthy(project.tasks["web"]))
        with running(project.tasks["load"], log) as load:
            await eventually(lambda: load.poll() is not None)
            assert load.returncode == 0
    assert "200 pages" in log.read_text()


async def test_the_jobs(project: Project, tmp_path: Path) -> None:
    worker, store = project.tasks["worker.2"], project.tasks["store"]
    assert worker.health_log
    log = tmp_path / "log"
    with running(store, tmp_path / "store"):
        await eventually(lambda: healthy(store))
        with running(worker, log):
            matcher = LogMatcher(worker.health_log)
            await eventually(lambda: matcher.feed(log.read_bytes().splitlines()))
            await eventually(lambda: b"done" in log.read_bytes())
    assert b"to worker 2" in (tmp_path / "store").read_bytes()


async def test_the_noise(project: Project, tmp_path: Path) -> None:
    chatter, flaky = tmp_path / "chatter", tmp_path / "flaky"
    with running(project.tasks["chatter"], chatter), running(project.tasks["flaky"], flaky):
        await eventually(lambda: chatter.read_bytes().count(b"\n") > 5)
        await eventually(lambda: b"all is well" in flaky.read_bytes())
    assert b"\x1b[" in chatter.read_bytes()


def test_the_rest_of_what_it_shows(project: Project) -> None:
    tasks = project.tasks
    assert not tasks["load"].auto_start
    assert tasks["prepare"].restart_policy == "no"
    assert [dependency.condition for dependency in tasks["web"].depends_on] == ["completed"]
    assert tasks["flaky"].restart_policy == "on-failure"
    assert all(task.description for task in tasks.values())
