"""Many processes at the same folder at the same moment: whatever is to happen once happens once.

The processes are forked and let go together, so that they meet in the same tick of the file system's clock; most of
these tests fail within a second if a file's age may come out negative or two claims may mean the same file.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paneview.broker import Broker, NewJob, Outcome, open_broker
from paneview.broker.directory.disk import Scratch
from tests.broker.helpers import take, want
from tests.broker.labs import SETTINGS, DirectoryLab, opened
from tests.broker.test_claude_queue import Scripts

PROCESSES = 6
ROUNDS = 25


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[DirectoryLab]:
    with opened(DirectoryLab(tmp_path)) as one:
        assert isinstance(one, DirectoryLab)
        yield one


def together(url: str, act: Callable[[Broker, int], Any], count: int = PROCESSES) -> list[Any]:
    """What ``act`` answers in each of some forked processes, which begin at the same moment."""
    gate, open_gate = os.pipe()
    answers = []
    for number in range(count):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(open_gate)
                broker = open_broker(url, settings=SETTINGS)
                os.write(writer, b"\n")
                os.read(gate, 1)  # ends when the last one who could write has closed
                answer = json.dumps(act(broker, number)).encode()
                os.write(writer, answer)
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        answers.append((pid, reader))
    os.close(gate)
    try:
        for _, reader in answers:
            assert os.read(reader, 1) == b"\n"
    finally:
        os.close(open_gate)
    return [_answer(pid, reader) for pid, reader in answers]


def _answer(pid: int, reader: int) -> Any:
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(text)


def test_a_job_is_claimed_once_by_any_number_of_one_name(lab: DirectoryLab) -> None:
    """The slots of a worker share its name, and may claim in the same millisecond."""
    with lab.open() as broker:
        jobs = [broker.submit(NewJob("test")).id for _ in range(ROUNDS * 4)]

    def claim(broker: Broker, _number: int) -> list[str]:
        found = []
        while leases := broker.claim(want("the same")):
            found.append(leases[0].id)
        return found

    claimed = Counter(job for answer in together(lab.url, claim) for job in answer)
    assert claimed == Counter(jobs)


def test_what_scripts_submit_is_taken_over_once_and_claimed_once(lab: DirectoryLab) -> None:
    with lab.open():
        scripts = Scripts(lab.path)
        tasks = [scripts.submit(f"task {number}") for number in range(ROUNDS)]

    def claim(broker: Broker, _number: int) -> list[str]:
        found = []
        end = time.monotonic() + 20
        while len(found) < len(tasks) and time.monotonic() < end:
            leases = broker.claim(want("the same", n=3))
            found += [lease.id for lease in leases]
            if not leases and not any(lane.depth for lane in broker.stats()):
                break
        return found

    claimed = Counter(job for answer in together(lab.url, claim) for job in answer)
    assert claimed == Counter(tasks)


def test_a_lease_of_this_moment_has_not_run_out(lab: DirectoryLab) -> None:
    """Some renew without pause, the others look without pause for whose lease has run out."""
    broker = lab.open()
    for _ in range(PROCESSES // 2):
        broker.submit(NewJob("test"))
    stop = lab.path / "stop"

    def act(broker: Broker, number: int) -> list[str]:
        expired: list[str] = []
        limit = time.monotonic() + 30.0  # if those who renew fail
        if number % 2:
            while not stop.exists() and time.monotonic() < limit:
                expired += broker.reap().expired
            return expired
        lease = take(broker, f"w{number}", seconds=30.0)
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            assert broker.renew([lease]) == ["held"]
        stop.touch()
        assert broker.finish(lease, Outcome()).verdict == "accepted"
        return expired

    assert together(lab.url, act) == [[] for _ in range(PROCESSES)]


def test_a_file_of_this_very_tick_is_not_younger_than_now(lab: DirectoryLab) -> None:
    lab.open()
    scratch = Scratch(f"{lab.path}/paneview")
    touched = str(lab.path / "touched")
    Path(touched).touch()
    for _ in range(2000):
        os.utime(touched)
        silence = scratch.silence(touched)
        assert silence is not None
        assert 0 <= silence < 10
    scratch.close()


def test_a_clock_that_was_set_back_ends_what_came_before(lab: DirectoryLab) -> None:
    broker = lab.open()
    broker.submit(NewJob("test"))
    take(broker, seconds=60.0)
    lab.age(-4000.0)  # as if the server's clock had been an hour ahead until now
    assert len(broker.reap().expired) == 1


def test_one_leads_however_many_ask_at_once(lab: DirectoryLab) -> None:
    def lead(broker: Broker, number: int) -> list[tuple[str, int]]:
        found = []
        for turn in range(ROUNDS * 4):
            if leader := broker.lead(f"office {turn}", f"s{number}", 60.0):
                found.append((leader.name, leader.epoch))
                again = broker.lead(leader.name, f"s{number}", 60.0)
                assert again == leader
        return found

    led = Counter(name for answer in together(lab.url, lead) for name, _ in answer)
    assert led == Counter({f"office {turn}": 1 for turn in range(ROUNDS * 4)})


def test_one_who_was_asleep_through_later_reigns_does_not_lead(
    lab: DirectoryLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw the first leader fall silent, slept, and finds the place of the second one free again."""
    late, broker = lab.open(), lab.open()
    assert broker.lead("reaper", "s1", 60.0)
    lab.age(61.0)
    create = Scratch.create

    def slept(self: Scratch, path: str, value: Any) -> bool:
        monkeypatch.setattr(Scratch, "create", create)
        for name in ("s2", "s3", "s4"):
            assert broker.lead("reaper", name, 60.0)
            lab.age(61.0)
        assert broker.lead("reaper", "s5", 60.0)
        return create(self, path, value)

    monkeypatch.setattr(Scratch, "create", slept)
    assert late.lead("reaper", "late", 60.0) is None
    leader = broker.lead("reaper", "s5", 60.0)
    assert leader
    broker.reap(leader)
