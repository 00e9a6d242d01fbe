"""The supervisor's side of the queue, in the test's own process: its end, and workers that are dead or hung."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paneview import proc
from paneview.broker import Registration, WorkerView, open_broker
from paneview.broker.interface import mark_of
from paneview.config.load import load_project
from paneview.config.models import WorkerSpec
from paneview.rules.states import TaskPhase
from paneview.supervisor.queue import thread as queue
from paneview.supervisor.queue import upkeep
from paneview.supervisor.queue.upkeep import QueueKeeper
from paneview.supervisor.queue.workers import release_dead
from paneview.worker import Setup
from paneview.worker.setup import Identity
from paneview.worker.silence import Silence
from tests.broker.labs import DirectoryLab
from tests.harness import eventually


class Crowd:
    """A quarantined worker, its keeper, and what the worker was told."""

    def __init__(self, folder: Path) -> None:
        task = SimpleNamespace(worker=WorkerSpec(roles=(), respawn_limit=3, respawn_window=300.0))
        self.state = SimpleNamespace(
            run=None, phase=TaskPhase.FAILED, quarantined=True, reason="why", restarts=0
        )
        self.fed: list[object] = []
        unit = SimpleNamespace(name="cook", task=task, live=None, state=self.state, feed=self.fed.append)
        self.supervisor = SimpleNamespace(units={"cook": unit}, going_down=False)
        journal = SimpleNamespace(note=lambda *_words: None)
        self.keeper = QueueKeeper(self.supervisor, journal, folder)  # type: ignore[arg-type]
        self.file = folder / "paneview.toml"

    def follow(self, broker: str, more: str = "") -> None:
        self.file.write_text(f'[queue]\nhost = "pi"\nbroker = "{broker}"\n{more}')
        self.keeper.follow(load_project(self.file, {}))


async def test_who_is_quarantined_stays_so_in_another_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LOOK", 0.05)
    crowd = Crowd(tmp_path)
    with open_broker(f"sqlite://{tmp_path}/a.db") as one, open_broker(f"sqlite://{tmp_path}/b.db") as other:
        one.workers.quarantine("cook", "why", host="pi")
        for broker in (one, other):
            crowd.follow(broker.address)
            await eventually(lambda b=broker: mark_of(b.workers.quarantined(), "cook", "pi"))  # type: ignore[misc]
        assert crowd.fed == []
        await eventually(lambda: crowd.keeper._seen)  # from here on, it is released if the mark is removed
        other.workers.unquarantine("cook")
        await eventually(lambda: crowd.fed)
        await crowd.keeper.close()
        # Also if it is changed while no supervisor runs.
        later = Crowd(tmp_path)
        one.workers.unquarantine("cook")
        later.follow(one.address)
        await eventually(lambda: later.keeper._seen or later.fed)
        assert mark_of(one.workers.quarantined(), "cook", "pi")
    assert later.fed == []
    await later.keeper.close()


async def test_who_is_quarantined_while_the_queue_is_away_stays_so_after_a_change_of_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LOOK", 0.05)
    monkeypatch.setattr(queue, "PAUSE", 0.05)
    monkeypatch.setattr(queue, "HURRY", 0.05)
    crowd = Crowd(tmp_path)
    crowd.state.quarantined = False
    with open_broker(f"sqlite://{tmp_path}/a.db") as broker:
        crowd.follow(broker.address)
        with (tmp_path / "a.db.gate").open("r+") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)  # nothing can be written
            await eventually(lambda: crowd.keeper.problem)
            crowd.state.quarantined = True
            crowd.keeper.changed("cook")
            before = crowd.keeper._thread
            crowd.follow(broker.address, "lease = 5\n")
            await eventually(lambda: before and not before.is_alive())
        await eventually(lambda: mark_of(broker.workers.quarantined(), "cook", "pi"))
    assert crowd.fed == []
    await crowd.keeper.close()


async def test_what_was_found_in_a_queue_that_was_left_is_told_no_more(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path)
    with open_broker(f"sqlite://{tmp_path}/a.db") as one, open_broker(f"sqlite://{tmp_path}/b.db") as other:
        crowd.follow(one.address)
        before = crowd.keeper._thread
        assert before
        before._say("it is away")  # as on the thread: the event loop hears of it in its next turn
        crowd.follow(other.address)
        await eventually(lambda: not before.is_alive())
    assert crowd.keeper.problem is None
    await crowd.keeper.close()


async def test_a_thread_that_is_to_end_does_what_it_was_given_and_waits_for_no_further_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LOOK", 600.0)
    crowd = Crowd(tmp_path)
    done: list[str] = []
    with open_broker(f"sqlite://{tmp_path}/a.db") as broker:
        crowd.follow(broker.address)
        thread = crowd.keeper._thread
        assert thread
        busy, go_on = threading.Event(), threading.Event()
        await eventually(lambda: thread._next_round)
        thread.tell(lambda _: (busy.set(), go_on.wait(20)))
        await eventually(busy.is_set)
        thread.tell(lambda _: done.append("the rest"))
        thread.leave()
        go_on.set()
        await eventually(lambda: not thread.is_alive())
    assert done == ["the rest"]


async def test_a_defect_is_told_and_what_else_is_to_be_done_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_args: object) -> None:
        raise sqlite3.ProgrammingError("a mistake of ours")

    monkeypatch.setattr(upkeep, "release_dead", defect)
    monkeypatch.setattr(queue, "PAUSE", 0.05)
    (tmp_path / "paneview.toml").write_text('[queue]\nhost = "pi"\n')
    told: list[tuple[str, str]] = []
    journal = SimpleNamespace(note=lambda kind, words: told.append((kind, words)))
    state = SimpleNamespace(run=None, phase=TaskPhase.IDLE, quarantined=False, reason="", restarts=0)
    unit = SimpleNamespace(
        name="cook",
        task=SimpleNamespace(worker=WorkerSpec(roles=(), respawn_limit=3, respawn_window=300.0)),
        live=None,
        state=state,
    )
    supervisor = SimpleNamespace(units={"cook": unit}, going_down=False)
    keeper = QueueKeeper(supervisor, journal, tmp_path)  # type: ignore[arg-type]
    keeper.follow(load_project(tmp_path / "paneview.toml", {}))  # this gives back a dead worker's jobs
    state.quarantined, state.reason = True, "5 respawns"
    keeper.changed("cook")
    with open_broker("sqlite:", project_dir=tmp_path) as broker:
        await eventually(lambda: mark_of(broker.workers.quarantined(), "cook", "pi"))
    await eventually(lambda: len(told) == 2)
    assert told[0] == ("queue_lost", "defect: ProgrammingError('a mistake of ours')")
    assert told[1][0] == "queue_restored"
    assert keeper.problem is None
    await keeper.close()


def registered(pid: int, **more: Any) -> Registration:
    return Registration(f"w{pid}", "cook", "pi", pid, **more)


def test_a_worker_is_dead_when_its_very_process_is(tmp_path: Path) -> None:
    me, boot, gone = os.getpid(), proc.boot_id(), subprocess.Popen(["true"])
    gone.wait()
    mine = proc.identify(me)
    assert mine is not None
    dead = {
        "number-again": registered(me, start=mine.start - 1, boot=boot),
        "gone": registered(gone.pid, start=1, boot=boot),
        "gone-from-here": registered(gone.pid, start=2, boot=boot, pids=proc.pid_space()),
        "earlier-version": registered(gone.pid),
    }
    left = {
        "runs": registered(me, start=mine.start, boot=boot),
        "runs-in-earlier-version": registered(me),
        "of-another-host-of-this-name": registered(gone.pid, start=1, boot="another"),
        "of-another-container-of-this-name": registered(gone.pid, start=1, boot=boot, pids="another"),
        "of-another-host": replace(registered(gone.pid), host="far"),
    }
    with open_broker("sqlite:", project_dir=tmp_path) as broker:
        for name, worker in (dead | left).items():
            broker.workers.register(replace(worker, id=name))
        release_dead(broker, "cook", "pi")
        assert {view.worker.id for view in broker.workers.all(alive_only=True)} == left.keys()


def test_a_worker_registers_the_process_that_it_is() -> None:
    setup = Setup(environ={})
    worker = Identity.of(setup).registration(setup)
    assert proc.is_alive(proc.ProcessId(worker.pid, worker.start))
    assert (worker.pid, worker.boot) == (os.getpid(), proc.boot_id())
    if sys.platform == "linux":
        assert worker.pids == os.readlink("/proc/self/ns/pid").strip("pid:[]")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


async def test_only_the_hung_worker_s_very_process_is_killed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    root = proc.identify(sleeper.pid)
    assert root is not None
    unit = SimpleNamespace(name="cook", live=SimpleNamespace(root=root, run=1))
    told: list[int] = []
    journal = SimpleNamespace(note_task=lambda *_, pid: told.append(pid))
    keeper = QueueKeeper(SimpleNamespace(units={"cook": unit}), journal, tmp_path)  # type: ignore[arg-type]
    for start in (root.start - 1, root.start):
        assert not told
        worker = registered(sleeper.pid, start=start, boot=proc.boot_id())
        keeper.hung([WorkerView(worker, 0.0, 99.0, alive=False, jobs=(), quarantined=False)])
    assert told == [sleeper.pid]
    await eventually(lambda: sleeper.poll() == -signal.SIGKILL)


async def test_a_worker_that_hangs_again_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LOOK", 0.05)
    (tmp_path / "paneview.toml").write_text('[queue]\nhost = "pi"\n')
    heard: list[str] = []
    keeper = QueueKeeper(SimpleNamespace(units={}, going_down=False), None, tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr(keeper, "hung", lambda views: heard.extend(view.worker.id for view in views))
    keeper.follow(load_project(tmp_path / "paneview.toml", {}))
    assert keeper._thread is not None
    with open_broker("sqlite:", project_dir=tmp_path) as broker:
        for times in (1, 2):
            broker.workers.register(Registration("w1", "cook", "pi", ttl=0.1))
            await eventually(lambda times=times: heard == ["w1"] * times)
            broker.workers.register(Registration("w1", "cook", "pi", ttl=60.0))
            await eventually(lambda: not keeper._thread._hung)
    await keeper.close()


async def test_a_worker_that_could_not_be_heard_for_long_is_not_killed_as_hung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue was away for longer than a worker may be silent; who looks for the hung finds it first."""
    monkeypatch.setattr(queue, "LOOK", 0.05)
    monkeypatch.setattr(queue, "PAUSE", 0.05)
    here, away = DirectoryLab(tmp_path / "here"), DirectoryLab(tmp_path / "away")
    for lab in (here, away):
        lab.path.parent.mkdir()
    (tmp_path / "paneview.toml").write_text(f'[queue]\nhost = "pi"\nbroker = "{here.url}"\n')
    heard: list[str] = []
    told: list[str] = []
    journal = SimpleNamespace(note=lambda kind, *_: told.append(kind))
    with open_broker(here.url) as broker:
        broker.workers.register(Registration("w1", "cook", "pi", ttl=60.0))
        keeper = QueueKeeper(SimpleNamespace(units={}, going_down=False), journal, tmp_path)  # type: ignore[arg-type]
        monkeypatch.setattr(keeper, "hung", lambda views: heard.extend(view.worker.id for view in views))
        keeper.follow(load_project(tmp_path / "paneview.toml", {}))
        await eventually(lambda: broker.events.tail().events[-1].kind == "leader_changed")
        here.path.rename(away.path)
        await eventually(lambda: told == ["queue_lost"])
        away.age(100.0)
        away.path.rename(here.path)
        await eventually(lambda: told == ["queue_lost", "queue_restored"])
        assert not heard
        broker.workers.register(Registration("w1", "cook", "pi", ttl=60.0))
        await keeper.close()


def test_a_worker_is_hung_only_if_it_had_time_to_be_heard_since_the_machine_slept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("paneview.worker.silence.since_boot", lambda: now)
    silent = [WorkerView(registered(1, ttl=60.0), 0.0, 99.0, alive=False, jobs=(), quarantined=False)]
    silence, moments = Silence(2.0), []
    for seconds in (*[2.0] * 11, 3600.0, *[2.0] * 11):
        now += seconds
        if silence.hung(silent):
            moments.append(now)
    assert moments == [1022.0, 4642.0, 4644.0]
