"""claude-queue's scripts at the same folder. They are played here by what its description and its files say they do."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from paneview.broker import Broker, BrokerError, Claim, JobFilter, JobState, NewJob, Outcome, Target, lanes_of
from paneview.broker.directory import ending
from paneview.broker.directory.broker import DirectoryBroker
from paneview.broker.directory.foreign import mirror
from tests.broker.helpers import Later, fail, job, state, submit, take, want
from tests.broker.labs import DirectoryLab, opened
from tests.harness import wait_until

TOWER = "[" * 250 + "]" * 250


class Scripts:
    """The other program."""

    def __init__(self, root: Path, host: str = "control-node") -> None:
        self.root = root
        self.host = host

    def _write(self, path: Path, value: dict[str, Any]) -> None:
        new = path.with_name(f"{path.name}.tmp.{uuid.uuid4()}")
        new.write_text(json.dumps(value, indent=2))
        new.rename(path)

    def submit(self, command: str, host: str | None = None, metadata: dict[str, Any] | None = None) -> str:
        """A task file, as described."""
        task = f"{int(time.time())}_{uuid.uuid4().hex[:8]}"
        self._write(
            self.root / "tasks" / f"task_{task}.json",
            {
                "id": task,
                "command": command,
                "from_host": self.host,
                "target_host": host,
                "timestamp": datetime.now().isoformat(),  # noqa: DTZ005 - as it does
                "status": "pending",
                "metadata": metadata or {},
            },
        )
        return task

    def task(self, task: str) -> dict[str, Any]:
        """A task file."""
        found: dict[str, Any] = json.loads((self.root / "tasks" / f"task_{task}.json").read_text())
        return found

    def status(self, task: str) -> str:
        """What it says."""
        return str(self.task(task)["status"])

    def pending(self, for_host: str | None = None) -> list[str]:
        """The tasks that wait, in order; a host's own and those for no host."""
        tasks = [json.loads(path.read_text()) for path in (self.root / "tasks").glob("task_*.json")]
        wanted = [
            task
            for task in tasks
            if task.get("status") == "pending"
            and (for_host is None or task.get("target_host") in (None, for_host))
        ]
        return [task["id"] for task in sorted(wanted, key=lambda task: task.get("timestamp", ""))]

    def result(self, task: str) -> dict[str, Any] | None:
        """A result file, as described."""
        path = self.root / "results" / f"result_{task}.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DirectoryLab]:
    with opened(DirectoryLab(tmp_path)) as one:
        assert isinstance(one, DirectoryLab)
        yield one


@pytest.fixture
def broker(lab: DirectoryLab) -> Broker:
    return lab.open()


@pytest.fixture
def scripts(lab: DirectoryLab, broker: Broker) -> Scripts:
    return Scripts(lab.path)


def test_a_task_of_theirs_is_done_by_ours_and_they_see_it_all(broker: Broker, scripts: Scripts) -> None:
    task = scripts.submit("What is your hostname?", metadata={"priority": "high"})
    assert scripts.pending() == [task]
    lease = take(broker)
    assert (lease.id, lease.job.kind, lease.job.payload) == (
        task,
        "prompt",
        {"text": "What is your hostname?"},
    )
    assert lease.job.meta == {"priority": "high"}
    assert lease.job.submitted_by == "control-node"
    assert scripts.status(task) == "in_progress"
    assert scripts.pending() == []
    assert scripts.result(task) is None
    broker.finish(lease, Outcome(output="pi-node-1", host="pi-node-1"))
    assert scripts.status(task) == "completed"
    found = scripts.result(task)
    assert found
    assert {name: found[name] for name in ("task_id", "result", "status", "error", "completed_by")} == {
        "task_id": task,
        "result": "pi-node-1",
        "status": "completed",
        "error": None,
        "completed_by": "pi-node-1",
    }
    datetime.fromisoformat(found["completed_at"])


def test_one_that_fails_is_tried_once_as_theirs_are_and_again_when_somebody_wants_it(
    broker: Broker, scripts: Scripts
) -> None:
    task = scripts.submit("break")
    assert job(broker, task).max_attempts == 1
    fail(broker, take(broker), "exit code 2")
    assert scripts.status(task) == "failed"
    found = scripts.result(task)
    assert found
    assert (found["status"], found["error"]) == ("failed", "exit code 2")
    broker.retry()
    assert (scripts.status(task), scripts.result(task)) == ("pending", None)


def test_they_are_done_in_the_order_in_which_they_were_submitted_and_keep_their_times(
    broker: Broker, scripts: Scripts
) -> None:
    tasks = [scripts.submit(f"task {number}") for number in range(20)]
    times = {task: scripts.task(task)["timestamp"] for task in tasks}
    leases = [take(broker) for _ in tasks]
    assert [lease.id for lease in leases] == tasks
    assert {task: scripts.task(task)["timestamp"] for task in tasks} == times
    assert leases[0].job.submitted_at == datetime.fromisoformat(times[tasks[0]]).timestamp()


def test_a_slow_submitter_does_not_hide_that_a_worker_was_quick(
    lab: DirectoryLab, broker: Broker, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = lab.open()
    claimed = []

    def slowly(desk: Any, spec: Any, status: str) -> None:
        claimed.extend(other.claim(want("quick")))
        mirror(desk, spec, status)

    monkeypatch.setattr(ending, "mirror", slowly)
    job = submit(broker, kind="prompt", payload={"text": "now"})
    claimed += other.claim(want("quick"))
    assert [lease.id for lease in claimed] == [job]
    assert scripts.status(job) == "in_progress"
    broker.release(claimed[0])
    claimed += other.claim(want("quick"))
    assert (len(claimed), scripts.status(job)) == (2, "in_progress")
    fail(broker, claimed[1], retry=False)
    assert scripts.status(job) == "failed"
    broker.retry()
    claimed += other.claim(want("quick"))
    assert (len(claimed), scripts.status(job)) == (3, "in_progress")


def test_cancelled(broker: Broker, scripts: Scripts) -> None:
    task = scripts.submit("never mind")
    broker.cancel(task, "not wanted")
    assert scripts.status(task) == "failed"
    found = scripts.result(task)
    assert found
    assert found["error"] == "not wanted"


def test_a_host_takes_its_own_and_what_is_for_any(broker: Broker, scripts: Scripts) -> None:
    mine, other, anyone = (
        scripts.submit("a", "pi-node-1"),
        scripts.submit("b", "pi-node-2"),
        scripts.submit("c"),
    )
    lanes = lanes_of("w1", host="pi-node-1")
    assert {lease.id for lease in broker.claim(want(n=9, lanes=lanes))} == {mine, anyone}
    assert job(broker, other).target == Target(host="pi-node-2")
    assert [each.id for each in broker.jobs(JobFilter(host="pi-node-2"))] == [other]


def test_prompts_of_ours_are_listed_by_theirs_and_run_by_none_of_their_workers(
    broker: Broker, scripts: Scripts
) -> None:
    prompts = [
        submit(broker, kind="prompt", payload={"text": "hello"}, target=Target(host="pi-node-1")),
        submit(broker, kind="prompt", payload={"text": "world"}),
    ]
    submit(broker, kind="ping")
    assert scripts.pending() == prompts
    assert scripts.task(prompts[0])["command"] == "hello"
    assert scripts.pending("pi-node-1") == [], "what its worker there would take"


def test_one_that_is_taken_over_is_not_taken_twice(lab: DirectoryLab, scripts: Scripts) -> None:
    brokers = [lab.open() for _ in range(3)]
    tasks = [scripts.submit(f"task {number}") for number in range(10)]
    calls = [Later(lambda b=b: [lease.id for lease in b.claim(want(n=20))]) for b in brokers]
    taken = [task for call in calls for task in call.result()]

    def take_what_another_was_just_bringing() -> bool:
        taken.extend(lease.id for broker in brokers for lease in broker.claim(want(n=20)))
        return len(taken) >= len(tasks)

    wait_until(take_what_another_was_just_bringing)
    assert sorted(taken) == sorted(tasks)
    for broker in brokers:
        broker.reap()
        assert broker.claim(want(n=20)) == []


def test_only_what_is_new_there_is_looked_at(
    lab: DirectoryLab, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = lab.open()
    assert isinstance(broker, DirectoryBroker)
    ours = [submit(broker, kind="prompt", payload={"text": "x"}) for _ in range(5)]
    broker.reap()
    theirs = scripts.submit("x")
    looked: list[str] = []
    stat = os.stat

    def noting(path: Any, **how: Any) -> os.stat_result:
        looked.append(os.path.basename(os.fspath(path)))
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", noting)
    broker.reap()
    assert {name for name in looked if name.startswith("task_")} == {f"task_{theirs}.json"}
    monkeypatch.undo()
    assert state(broker, theirs) == "queued"
    for each in ours:
        (lab.path / "tasks" / f"task_{each}.json").unlink()
    broker.reap()
    assert set(broker._importer._seen) == {f"task_{theirs}.json"}, "what is gone is forgotten"


def test_it_wakes_a_waiting_worker(lab: DirectoryLab, scripts: Scripts) -> None:
    broker = lab.open()
    waiting = Later(lambda: broker.claim(want(), wait=20.0))
    end = time.monotonic() + 0.3
    wait_until(lambda: time.monotonic() > end)
    task = scripts.submit("wake up")
    assert [lease.id for lease in waiting.result()] == [task]


def test_what_others_of_theirs_have_begun_is_left_alone(
    broker: Broker, scripts: Scripts, lab: DirectoryLab
) -> None:
    task = scripts.submit("begun elsewhere")
    path = lab.path / "tasks" / f"task_{task}.json"
    path.write_text(json.dumps({**scripts.task(task), "status": "in_progress", "claimed_by": "pi"}))
    before = path.read_bytes()
    assert broker.claim(want()) == []
    assert path.read_bytes() == before
    assert (broker.need(task).state, broker.need(task).owner) == ("leased", "pi")
    with pytest.raises(BrokerError, match="nobody can ask"):
        broker.cancel(task)


def test_one_is_seen_by_who_only_looks_and_left_to_their_workers(
    lab: DirectoryLab, broker: Broker, scripts: Scripts
) -> None:
    task, other = scripts.submit("Check the disk", "pi-1"), scripts.submit("another")
    assert {one.id: one.state for one in broker.jobs(JobFilter())} == {task: "queued", other: "queued"}
    assert [one.id for one in broker.jobs(JobFilter(host="pi-1"))] == [task]
    assert broker.jobs(JobFilter(states=frozenset({JobState.LEASED}))) == []
    assert [(lane.lane, lane.queued) for lane in broker.stats()] == [("any", 1), ("h:pi-1", 1)]
    assert abs(broker.need(task).submitted_at - time.time()) < 10
    assert broker.result(task) is None
    assert sorted(scripts.pending("pi-1")) == sorted([task, other]), "nothing was taken from them"
    # Theirs do one, and the last word of it is theirs; ours take the other by its id.
    done = {"task_id": task, "result": "80 %", "status": "completed", "error": None, "completed_by": "pi-1"}
    (lab.path / f"results/result_{task}.json").write_text(json.dumps(done))
    (lab.path / f"tasks/task_{task}.json").write_text(
        json.dumps({**scripts.task(task), "status": "completed"})
    )
    found = broker.wait_result(task, 5)
    assert found
    assert (found.status, found.output, found.host) == ("ok", "80 %", "pi-1")
    assert (broker.need(task).state, broker.cancel(task)) == ("done", "over")
    assert broker.take(other, Claim("mine", ()))
    assert scripts.status(other) == "in_progress"
    assert [one.id for one in broker.jobs(JobFilter())] == [other]


def test_a_file_that_is_being_written_is_waited_for(
    broker: Broker, scripts: Scripts, lab: DirectoryLab
) -> None:
    task = scripts.submit("whole")
    path = lab.path / "tasks" / f"task_{task}.json"
    whole = path.read_text()
    path.write_text(whole[:40])
    assert broker.claim(want()) == []
    assert path.exists()
    path.write_text(whole)
    assert take(broker).id == task


@pytest.mark.parametrize(
    "text",
    [
        '{"id": "x',
        "[1, 2]",
        "not json at all",
        '{"id": "another", "command": "c", "status": "pending"}',
        '{"id": "123_x", "status": "pending"}',
        '{"id": "123_x", "command": ["rm"], "status": "pending"}',
        '{"id": "123_x", "command": "c", "status": "pending", "target_host": "a b"}',
        '{"id": "123_x", "command": "c", "status": "pending", "metadata": {"score": NaN}}',
        '{"id": "123_x", "command": "c", "status": "pending", "metadata": {"deep": ' + TOWER + "}}",
    ],
)
def test_a_broken_one_is_set_aside_and_told(broker: Broker, lab: DirectoryLab, text: str) -> None:
    path = lab.path / "tasks" / "task_123_x.json"
    path.write_text(text)
    os.utime(path, (time.time() - 10, time.time() - 10))
    (lab.path / "tasks" / "README").write_text("not theirs, not ours")
    another = submit(broker)
    assert take(broker).id == another
    assert not path.exists()
    (event,) = [each for each in broker.events.read().events if each.kind == "file_set_aside"]
    assert event.detail["file"] == str(path)
    assert len(list((lab.path / "paneview" / "aside").iterdir())) == 1
    assert (lab.path / "tasks" / "README").exists()


def test_an_id_that_would_leave_the_folder_is_none(broker: Broker, lab: DirectoryLab) -> None:
    path = lab.path / "tasks" / "task_..%2F..%2Fx.json"
    path.write_text(json.dumps({"id": "..%2F..%2Fx", "command": "c", "status": "pending"}))
    assert broker.claim(want()) == []
    assert not path.exists()


def test_cleaning_takes_their_files_too(lab: DirectoryLab, broker: Broker, scripts: Scripts) -> None:
    task = scripts.submit("old")
    broker.finish(take(broker), Outcome(output="x"))
    lab.age(8 * 86_400.0)
    fresh = scripts.submit("fresh")
    assert broker.clean(7 * 86_400.0) == 1
    assert not (lab.path / "tasks" / f"task_{task}.json").exists()
    assert scripts.result(task) is None
    assert take(broker).id == fresh
    assert broker.job(task) is None


def test_their_clean_up_leaves_ours_in_order(lab: DirectoryLab, broker: Broker, scripts: Scripts) -> None:
    task = scripts.submit("old")
    broker.finish(take(broker), Outcome(output="x"))
    for folder in ("tasks", "results"):
        for path in (lab.path / folder).glob("*.json"):
            path.unlink()
    assert state(broker, task) == "done"
    assert broker.reap().expired == ()
    assert broker.submit(NewJob("prompt", {"text": "old"}, id=task)).created is False


def test_who_did_what_is_in_their_log(broker: Broker, scripts: Scripts, lab: DirectoryLab) -> None:
    task = scripts.submit("log me")
    broker.finish(take(broker, "w-7"), Outcome())
    (log,) = (lab.path / "logs").glob(f"*_{time.strftime('%Y%m%d')}.log")
    lines = [line for line in log.read_text().splitlines() if task in line]
    assert [line.split()[2] for line in lines] == ["job_submitted", "job_claimed", "job_done"]
    assert "worker=w-7" in lines[-1]
