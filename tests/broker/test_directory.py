"""What is the shared folder's alone: killed at any system call, network file systems' answers, files nobody knows."""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from paneview.broker import (
    BadJobError,
    BadUrlError,
    Broker,
    BrokerError,
    JobFilter,
    JobState,
    NewJob,
    Outcome,
    Registration,
    Settings,
    Target,
    UnavailableError,
    Verdict,
    open_broker,
)
from paneview.broker.directory import bell, leases
from paneview.broker.directory.disk import HOST
from tests.broker.helpers import Later, fail, job, kinds, state, submit, take, want
from tests.broker.labs import DirectoryLab, opened
from tests.harness import wait_until

STATES = ("ready", "delayed", "blocked", "leased", "done", "dead", "cancelled")
CALLS = ("rename", "link", "unlink", "open", "utime", "mkdir", "rmdir", "fsync", "write")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DirectoryLab]:
    with opened(DirectoryLab(tmp_path)) as one:
        assert isinstance(one, DirectoryLab)
        yield one


class Killed(BaseException):
    """What a process does not survive."""


@contextmanager
def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Die at the n-th system call that changes anything, before or after it; nothing can be changed from then on."""
    count = 0
    dead = False

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count, dead
            if dead:
                raise Killed
            count += 1
            if count == number:
                dead = True
                raise Killed
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(getattr(os, name)))
        yield lambda: dead


def where(lab: DirectoryLab) -> Counter[str]:
    """In how many places each job's file is."""
    own = lab.path / "paneview"
    found = Counter[str]()
    for name in STATES:
        for path in (own / name).rglob("*.json"):
            found[
                path.name.partition(".")[0].rpartition("_")[0].split("_", 1)[-1] + "_" + _tail(path.name)
            ] += 1
    return found


def _tail(name: str) -> str:
    return name.partition(".")[0].rpartition("_")[2]


def settle(lab: DirectoryLab) -> Broker:
    """Long after the kill: somebody else tidies up and does what is left."""
    broker = lab.open()
    for _ in range(3):
        lab.age(4000.0)
        broker._next_repair = 0.0  # type: ignore[attr-defined]
        broker.reap()
        while found := broker.claim(want("w-last", n=20)):
            for lease in found:
                broker.finish(lease, Outcome(output="last"))
    assert broker.stats() == []
    assert set(where(lab).values()) <= {1}, "a job is in one place"
    for folder in ("entry", "outbox", "stage", "results", "leased", "needs"):
        assert os.listdir(lab.path / "paneview" / folder) == [], folder
    return broker


@pytest.fixture(params=[9, pytest.param(1, marks=pytest.mark.chaos)])
def every_kill(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[DirectoryLab, Any], None]], int]:
    """Try with a kill at each system call in turn, or at each ninth one."""
    return lambda try_: _every_kill(tmp_path, monkeypatch, request.param, try_)


def _every_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, try_: Callable[[DirectoryLab, Any], None]
) -> int:
    """Until one comes through unhurt; how many system calls there were."""
    for number in range(1, 500, stride):
        folder = tmp_path / str(number)
        folder.mkdir()
        with opened(DirectoryLab(folder)) as lab:
            hurt: list[bool] = []

            @contextmanager
            def kill(hurt: list[bool] = hurt, number: int = number) -> Iterator[None]:
                with killed_at(number, monkeypatch) as dead:
                    with suppress(Killed):
                        yield
                    hurt.append(dead())

            assert isinstance(lab, DirectoryLab)
            try_(lab, kill)
            if hurt == [False]:
                return number
    raise AssertionError("it never ends")


class TestKilledAnywhere:
    def test_in_a_submit(self, every_kill: Any) -> None:
        def try_(lab: DirectoryLab, kill: Any) -> None:
            broker = lab.open()
            told = []
            new = NewJob("test", key="k", group="g")
            with kill():
                told.append(broker.submit(new))
            again = lab.open().submit(NewJob("test", key="k"))
            last = settle(lab)
            jobs = last.jobs(JobFilter())
            assert len(jobs) == 1, "one per key, told or not"
            assert jobs[0].state is JobState.DONE
            if told:
                assert [each.id for each in told] == [again.id] == [jobs[0].id]
            assert again.id == jobs[0].id

        assert every_kill(try_) > 5

    def test_in_a_submit_of_many(self, every_kill: Any) -> None:
        def try_(lab: DirectoryLab, kill: Any) -> None:
            broker = lab.open()
            first = NewJob("test", key="k")
            jobs = [first, NewJob("test", after=(first.id,)), NewJob("test", delay=10.0)]
            told = []
            with kill():
                told += broker.submit_many(jobs)
            found = settle(lab).jobs(JobFilter())
            assert len(found) in ({3} if told else {0, 3}), "all or none"
            assert {each.state for each in found} <= {JobState.DONE}

        assert every_kill(try_) > 20

    def test_in_a_claim(self, every_kill: Any) -> None:
        def try_(lab: DirectoryLab, kill: Any) -> None:
            broker = lab.open()
            ids = {submit(broker, kind="prompt", payload={"text": "x"}), submit(broker)}
            with kill():
                broker.claim(want(n=2))
            last = settle(lab)
            assert {each.id: each.state for each in last.jobs(JobFilter())} == dict.fromkeys(
                ids, JobState.DONE
            )

        assert every_kill(try_) > 3

    def test_in_a_finish_with_all_that_goes_with_it(self, every_kill: Any) -> None:
        def try_(lab: DirectoryLab, kill: Any) -> None:
            broker = lab.open()
            first = submit(broker)
            waiting = submit(broker, after=(first,))
            lease = take(broker)
            follow_ups = [NewJob("test", key="f"), NewJob("test", after=(first, waiting))]
            with kill():
                broker.finish(lease, Outcome(output="first"), follow_ups=follow_ups, claim=want())
            last = settle(lab)
            states = {each.id: each.state for each in last.jobs(JobFilter())}
            result = last.result(first)
            assert result
            expected = {first, waiting, *(each.id for each in follow_ups)}
            if result.output == "last":  # the result was lost with the worker, and what should follow from it
                expected -= {each.id for each in follow_ups}
            assert states == dict.fromkeys(expected, JobState.DONE)

        assert every_kill(try_) > 30

    @pytest.mark.parametrize("retry", [True, False])
    def test_in_a_failure(self, every_kill: Any, retry: bool) -> None:
        def try_(lab: DirectoryLab, kill: Any) -> None:
            broker = lab.open()
            id_ = submit(broker)
            waiting = submit(broker, after=(id_,))
            lease = take(broker)
            with kill():
                fail(broker, lease, "broken", retry=retry)
            last = settle(lab)
            ends = {state(last, id_), state(last, waiting)}
            assert ends in ([{"done"}] if retry else [{"done"}, {"dead", "cancelled"}])
            if ends != {"done"}:
                assert [attempt.error for attempt in job(last, id_).errors] == ["broken"]
                assert len(last.dead()) == 1

        assert every_kill(try_) > 5

    def test_in_a_cancel_and_a_hand_back(self, every_kill: Any) -> None:
        def try_(lab: DirectoryLab, kill: Any) -> None:
            broker = lab.open()
            running, waiting = submit(broker), submit(broker)
            needing = submit(broker, after=(waiting,))
            lease = take(broker)
            with kill():
                broker.cancel(waiting)
                broker.cancel(running)
                broker.release(lease)
            last = settle(lab)
            assert state(last, waiting) in ("done", "cancelled")
            assert state(last, running) in ("done", "cancelled")
            assert state(last, needing) == state(last, waiting)

        assert every_kill(try_) > 15

    def test_in_a_reapers_round(self, every_kill: Any) -> None:
        def try_(lab: DirectoryLab, kill: Any) -> None:
            broker = lab.open()
            ids = [submit(broker), submit(broker, max_attempts=1), submit(broker, delay=100.0)]
            broker.claim(want(n=2, seconds=50.0))
            lab.age(200.0)
            with kill():
                broker.reap()
            last = settle(lab)
            assert [state(last, each) for each in ids] == ["done", "dead", "done"]

        assert every_kill(try_) > 10


class TestNetwork:
    def lossy(self, monkeypatch: pytest.MonkeyPatch, part: str) -> list[str]:
        """Renames whose target has this in its path are done, and answered with "no such file"."""
        real = os.rename
        lost: list[str] = []

        def rename(source: str, target: str) -> None:
            real(source, target)
            if part in str(target) and not lost:
                lost.append(str(target))
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", source)

        monkeypatch.setattr(os, "rename", rename)
        return lost

    def test_an_answer_to_a_claim_is_lost(self, lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch) -> None:
        broker = lab.open()
        id_ = submit(broker)
        lost = self.lossy(monkeypatch, "/leased/")
        lease = take(broker)
        assert lost
        assert (lease.id, lease.token) == (id_, 1)

    def test_an_answer_to_a_finish_is_lost(self, lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch) -> None:
        broker = lab.open()
        id_ = submit(broker)
        lease = take(broker)
        lost = self.lossy(monkeypatch, "/done/")
        follow_up = NewJob("test")
        told = broker.finish(lease, Outcome(output="x"), follow_ups=[follow_up])
        assert lost
        assert told.verdict in (Verdict.ACCEPTED, Verdict.ALREADY)
        result = broker.result(id_)
        assert result
        assert result.output == "x"
        assert [each.id for each in settle(lab).jobs(JobFilter())] == [follow_up.id, id_]

    def test_a_stale_handle_is_a_file_that_is_gone(
        self, lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = lab.open()
        submit(broker)
        lease = take(broker)

        def stale(*_args: Any, **_kwargs: Any) -> None:
            raise OSError(errno.ESTALE, "Stale file handle")

        with monkeypatch.context() as patch:
            patch.setattr(os, "utime", stale)
            assert broker.renew([lease]) == ["lost"]

    def test_a_share_that_is_gone_is_told(self, lab: DirectoryLab) -> None:
        broker = lab.open()
        lease = take(broker) if submit(broker) else None
        assert lease
        lab.path.rename(lab.path.with_name("elsewhere"))
        lab.path.mkdir()  # where it was mounted; a queue must not begin there
        for call in (
            lambda: submit(broker),
            lambda: broker.events.note("x"),
            lambda: broker.claim(want()),
            lambda: broker.job(lease.id),
            lambda: broker.result(lease.id),
            lambda: broker.jobs(JobFilter()),
            broker.workers.all,
            lambda: broker.wait_result(lease.id, 0.1),
            lambda: broker.documents.versions("x"),
            lambda: broker.renew([lease]),
            broker.reap,
            lambda: broker.finish(lease, Outcome()),
        ):
            with pytest.raises(UnavailableError, match=r"shared is not there: is it mounted\?"):
                call()
        with pytest.raises(UnavailableError, match="held a queue, and holds none now: is it mounted"):
            lab.open()
        assert not (lab.path / "paneview").exists()
        lab.path.rename(lab.path.with_name("mountpoint"))
        lab.path.with_name("elsewhere").rename(lab.path)
        assert broker.finish(lease, Outcome()).verdict is Verdict.ACCEPTED

    def test_a_folder_whose_parent_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(BrokerError, match="is the share mounted"):
            open_broker(f"dir://{tmp_path}/mnt/queue")
        with pytest.raises(BadUrlError, match="three slashes"):
            open_broker("dir://mnt/queue")
        with pytest.raises(BadUrlError, match="interval"):
            open_broker(f"dir://{tmp_path}/queue?interval=soon")

    def test_without_inotify_the_look_behind_finds_it(
        self, lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_folders: Path) -> None:
            raise OSError(errno.EMFILE, "too many instances")

        monkeypatch.setattr(bell, "InotifyWatch", refuse)
        broker, other = lab.open(), lab.open()
        waiting = Later(lambda: broker.claim(want(), wait=20.0))
        id_ = submit(other)
        assert [lease.id for lease in waiting.result()] == [id_]


class TestFollowUps:
    def test_come_with_the_result_that_was_accepted_only(
        self, lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = lab.open()
        id_ = submit(broker)
        lease = take(broker)
        first = NewJob("test", "first")
        broker.finish(lease, Outcome(), follow_ups=[first])
        with (
            killed_at(12, monkeypatch) as dead,
            suppress(Killed),
        ):  # after it has written down what is to follow
            broker.finish(lease, Outcome(), follow_ups=[NewJob("test", "second")])
        assert dead()
        assert os.listdir(lab.path / "paneview" / "stage") == [f"{id_}.1"]
        assert {each.id for each in settle(lab).jobs(JobFilter())} == {id_, first.id}


def a_socket(path: Path) -> None:
    """One that nobody listens on any more; a path as long as this has no room in an address."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("strange")
    os.rename("strange", path)


def a_link(path: Path) -> None:
    """It leads nowhere."""
    path.symlink_to("nowhere")


class TestStrangers:
    def aside(self, lab: DirectoryLab) -> list[str]:
        return sorted(os.listdir(lab.path / "paneview" / "aside"))

    def test_files_nobody_knows_are_set_aside_and_told(self, lab: DirectoryLab) -> None:
        broker = lab.open()
        id_ = submit(broker)
        ready = lab.path / "paneview" / "ready" / "any"
        (ready / "notes.txt").write_text("mine")
        (ready / ".nfs000001").write_text("NFS's own")
        assert [lease.id for lease in broker.claim(want(n=5))] == [id_]
        assert [name.rpartition(".")[0] for name in self.aside(lab)] == ["notes.txt"]
        assert (ready / ".nfs000001").exists()
        (event,) = [each for each in broker.events.read().events if each.kind == "file_set_aside"]
        assert event.detail["file"] == str(ready / "notes.txt")

    @pytest.mark.parametrize("text", ["", '{"id": "x"', "[]", '{"id": "x", "unknown": 1}'])
    def test_so_is_a_job_that_is_half_written(self, lab: DirectoryLab, text: str) -> None:
        broker = lab.open()
        broken, whole = submit(broker), submit(broker)
        (path,) = (lab.path / "paneview" / "ready" / "any").glob(f"*{broken}*")
        path.write_text(text)
        assert [lease.id for lease in broker.claim(want(n=2))] == [whole]
        assert broker.claim(want()) == []
        assert len(self.aside(lab)) == 1
        broker.stats()
        broker.jobs(JobFilter())
        broker.reap()

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, a_socket, a_link])
    def test_so_is_what_is_no_file_at_all(
        self, lab: DirectoryLab, make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker = lab.open()
        monkeypatch.chdir(lab.path)
        own = lab.path / "paneview"
        name = f"{0:020d}_{1764870164}_abc.0.0.json"
        due, leased = f"{1:016d}_{name}", f"{name.removesuffix('.json')}.1000.1-ab.w9.json"
        strange = [
            own / "ready" / "any" / name,
            own / "delayed" / "any" / due,
            own / "blocked" / "any" / due,
            own / "leased" / leased,
            own / "results" / "1764870164_abc.0.done.json",
            own / "results" / "nothing",
            lab.path / "tasks" / "task_1764870164_abc.json",
        ]
        others = [
            own / "entry" / "1764870164_abc.json",
            own / "outbox" / "many-1",
            own / "stage" / "many-2",
            own / "workers" / "w9.json",
            own / "gone" / "w8.json",
            own / "flags" / "x" / "y.json",
            own / "tmp" / "x",
            own / "leaders" / "reaper.bak",
            own / "done" / "17648701",
            own / "dead" / "17648701" / name,
            own / "needs" / "x" / "y",
            own / "docs" / "x" / "y.00000001.json",
            lab.path / "logs" / "pi_20251204.log",
        ]
        id_ = submit(broker)
        for path in (*strange, *others):
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
            os.utime(path, (time.time() - 60,) * 2, follow_symlinks=False)
        (lease,) = broker.claim(want(n=5))
        assert lease.id == id_
        assert broker.claim(want()) == []
        assert broker.lead("reaper", "me", 60)
        broker.reap()
        broker.clean(0)
        assert broker.workers.all() == []
        assert [job.id for job in broker.jobs(JobFilter())] == [id_]
        assert broker.stats()[0].leased == 1
        told = {
            event.detail["file"] for event in broker.events.read().events if event.kind == "file_set_aside"
        }
        gone = {str(path) for path in strange if not os.path.lexists(path)}
        if make is a_link:  # which leads nowhere: as good as gone where it is looked at first
            assert gone
        else:
            assert gone == {str(path) for path in strange}
        assert told >= gone
        assert broker.finish(lease, Outcome()).verdict == "accepted"

    def test_a_file_in_the_place_of_a_lane_is_no_lane(self, lab: DirectoryLab) -> None:
        broker = lab.open()
        id_ = submit(broker, target=Target(role="cook"))
        (lab.path / "paneview" / "ready" / "any").write_text("mine")
        assert [lease.id for lease in broker.claim(want(lanes=("any", "r:cook")))] == [id_]

    @pytest.mark.parametrize(
        "name",
        [b"\xff.json", b"x" * 250 + b".json", b"x.json", b"reaper.00000007.json"],
        ids=["no text", "long", "plain", "leader"],
    )
    @pytest.mark.parametrize("text", ["{}", "[" * 100_000], ids=["another", "endless"])
    def test_odd_names_and_contents_keep_nobody_from_anything(
        self, lab: DirectoryLab, name: bytes, text: str
    ) -> None:
        broker = lab.open()
        id_ = submit(broker, group="g")
        broker.workers.register(Registration("w1", "web"))
        broker.workers.quarantine("web", "it died too often")
        for folder in [found for found, _, _ in os.walk(os.fsencode(lab.path))]:
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        assert [each.id for each in broker.jobs(JobFilter(group="g"))] == [id_]
        assert [lane.queued for lane in broker.stats()] == [1]
        assert [(view.worker.id, view.quarantined) for view in broker.workers.all()] == [("w1", True)]
        assert broker.lead("reaper", "me", 60)
        broker.reap()
        assert [lease.id for lease in broker.claim(want(n=5))] == [id_]
        broker.workers.leave("w1")

    def test_a_log_line_of_somebody_else_is_an_event_too(self, lab: DirectoryLab) -> None:
        broker = lab.open()
        logs = lab.path / "logs"
        (logs / "pi_20251204.log").write_text(
            "2025-12-04T19:42:44.123456 - Task claimed: 1764870164_8434f43f\nno time at all\nhalf a li"
        )
        broker.events.note("ours", detail={"a": 1})
        events = broker.events.read().events
        assert [(event.kind, event.detail) for event in events] == [
            ("log", {"text": "Task claimed: 1764870164_8434f43f"}),
            ("log", {"text": "no time at all"}),
            ("ours", {"a": 1}),
        ]
        cursor = broker.events.tail(1).cursor
        with open(logs / "pi_20251204.log", "a") as file:
            file.write("ne\n")
        assert [event.detail["text"] for event in broker.events.read(cursor).events] == ["half a line"]

    def test_a_result_that_somebody_removed(self, lab: DirectoryLab) -> None:
        broker = lab.open()
        id_ = submit(broker)
        broker.finish(take(broker), Outcome())
        (lab.path / "results" / f"result_{id_}.json").unlink()
        result = broker.result(id_)
        assert result
        assert (result.status, result.error) == ("ok", "its result was removed")
        assert state(broker, id_) == "done"


class TestLongBacklogs:
    def test_are_listed_now_and_then_and_taken_in_order(
        self, lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "LONG", 20)
        broker, other = lab.open(), lab.open()
        ids = [each.id for each in broker.submit_many([NewJob("test") for _ in range(60)])]
        taken = [take(broker).id for _ in range(5)]
        assert [lease.id for lease in other.claim(want("w2", n=3))] == ids[5:8]
        taken += [take(broker).id for _ in range(5)]
        assert taken == ids[:5] + ids[8:13], "what others took is passed over"
        urgent = submit(broker, priority=9)
        wait_until(lambda: take(broker).id == urgent)

    def test_a_job_for_a_lane_with_an_odd_name(self, lab: DirectoryLab) -> None:
        broker = lab.open()
        target = Target(role="r.v%2E~ü", host="h.example.org")
        id_ = submit(broker, target=target)
        (lease,) = broker.claim(want("worker.1 of/2", lanes=(target.lane,)))
        assert lease.id == id_
        assert broker.renew([lease]) == ["held"]
        assert job(broker, id_).owner == "worker.1 of/2"
        assert broker.finish(lease, Outcome()).verdict is Verdict.ACCEPTED


def test_a_full_disk_is_told_and_nothing_is_half_done(lab: DirectoryLab) -> None:
    broker = lab.open()
    id_ = submit(broker)
    lease = take(broker)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        for call in (
            lambda: submit(broker, payload="x" * 5000),
            lambda: broker.submit_many([NewJob("test"), NewJob("test", "x" * 5000)]),
            lambda: broker.finish(lease, Outcome(output="x" * 5000)),
        ):
            with pytest.raises(UnavailableError, match="cannot be used now: File too large"):
                call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert broker.renew([lease]) == ["held"]
    assert broker.finish(lease, Outcome(output="x" * 5000)).verdict is Verdict.ACCEPTED
    assert [each.id for each in settle(lab).jobs(JobFilter())] == [id_]


def test_a_name_too_long_for_a_file_is_refused_and_is_in_nobodys_way(lab: DirectoryLab) -> None:
    broker = lab.open(Settings(max_depth=None))
    role = "検査" * 20
    for call in (
        lambda: submit(broker, target=Target(role=role)),
        lambda: broker.submit_many([NewJob(), NewJob(target=Target(role=role))]),
        lambda: broker.workers.register(Registration("w", "w", roles=(role,))),
    ):
        with pytest.raises(BadJobError, match="too long for a shared folder"):
            call()
    task = {"id": "t1", "command": "x", "target_host": role, "status": "pending"}
    (lab.path / "tasks" / "task_t1.json").write_text(json.dumps(task))
    id_ = submit(broker)
    assert [lease.id for lease in broker.claim(want())] == [id_]
    assert [kind for kind in kinds(broker, "") if kind == "file_set_aside"]


def test_a_bell_that_cannot_be_hung_up_leaves_nothing_open(lab: DirectoryLab) -> None:
    broker = lab.open()
    (lab.path / "paneview" / "ready" / "any").write_text("no folder can be made here")
    gc.collect()  # what other tests have left is not closed meanwhile
    before = os.listdir("/proc/self/fd")
    with pytest.raises(UnavailableError):
        broker.claim(want(), wait=5.0)
    assert os.listdir("/proc/self/fd") == before


def test_calling_off_what_was_taken_down_writes_into_nobodys_file(lab: DirectoryLab) -> None:
    hung_up = lab.open()._bell(("any",))
    gc.collect()
    descriptors = os.listdir("/proc/self/fd")
    hung_up.close()
    reader, writer = os.pipe()  # has the numbers that the bell's pipe had
    try:
        assert {str(reader), str(writer)} <= set(descriptors)
        hung_up.call_off()
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)


def test_logs_of_days_long_over_are_opened_only_when_they_have_grown(
    lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = lab.open()
    old = lab.path / "logs" / "elsewhere_20200101.log"
    old.write_text("2020-01-01T00:00:00 - a line\n")
    (lab.path / "logs" / "loop_20200101.log").symlink_to("loop_20200101.log")
    submit(broker)
    cursor = broker.events.tail().cursor
    opened_files: list[str] = []
    open_file = os.open

    def noting(path: Any, *how: Any, **options: Any) -> int:
        opened_files.append(os.path.basename(path))
        return open_file(path, *how, **options)

    monkeypatch.setattr(os, "open", noting)
    assert broker.events.read(cursor).events == ()
    assert opened_files == [f"{HOST}_{time.strftime('%Y%m%d')}.log"]
    monkeypatch.undo()
    with old.open("a") as file:
        file.write("2020-01-01T00:00:01 - a late one\n")
    assert [event.detail for event in broker.events.read(cursor).events] == [{"text": "a late one"}]


def test_a_probe_tells_the_servers_time(lab: DirectoryLab) -> None:
    broker = lab.open()
    scratch = broker._desk.scratch  # type: ignore[attr-defined]
    assert abs(scratch.now() - time.time()) < 5
    ticks = [scratch.tick() for _ in range(100)]
    assert ticks == sorted(set(ticks))
