"""Workers as processes, from outside: what they do with jobs, and with signals."""

from __future__ import annotations

import fcntl
import io
import os
import resource
import signal
import sqlite3
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psutil
import pytest

from paneview.broker import (
    Broker,
    Claim,
    NewJob,
    Registration,
    Target,
    UnavailableError,
    lanes_of,
    open_broker,
)
from paneview.broker.sqlite.broker import SqliteBroker
from paneview.broker.sqlite.registry import SqliteRegistry
from paneview.worker import Command, Handlers, Setup, Worker, records
from paneview.worker.console import Console
from paneview.worker.crew import Crew
from paneview.worker.keeper import Keeper
from tests.harness import wait_until
from tests.worker.support import alive_with

if TYPE_CHECKING:
    from tests.worker.support import Farm

HANDLERS = """
import asyncio, os, time
from paneview.worker import Failure, handler

@handler("double")
def double(command):
    return {"twice": command.payload["n"] * 2}

@handler("later")
async def later(command):
    await asyncio.sleep(0)
    return "async"

@handler("crash")
def crash(command):
    raise ValueError("a bad day")

@handler("hopeless")
def hopeless(command):
    raise Failure("no use", retry=False)

@handler("patient")
def patient(command):
    command.wait(60)
    if command.cancelled:
        raise Failure(command.reason)
    return "slept"

@handler("deaf")
def deaf(command):
    time.sleep(30)

@handler("odd")
def odd(command):
    return object()

@handler("deep")
def deep(command):
    found = []
    for _ in range(5000):
        found = [found]
    return found

@handler("end")
def end(command):
    raise {"ctrl-c": KeyboardInterrupt, "exit": SystemExit, "generator": GeneratorExit}[command.payload](3)

@handler("later-please")
def later_please(command):
    raise Failure("not now", retry_in=float("inf") if command.payload == "inf" else command.payload)

@handler("gone")
def gone(command):
    os._exit(command.payload)

@handler("child")
def child(command):
    if (pid := os.fork()) == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]
"""


def test_it_does_what_its_roles_are_and_ends_when_told(farm: Farm) -> None:
    process = farm.ready("--role", "reviewer", "--role", "planner", "--name", "one")
    jobs = [
        farm.submit(target=target)
        for target in (Target(role="planner"), Target(role="reviewer"), Target(), Target(task="one"))
    ]
    other = farm.submit(target=Target(role="cook"))
    for job in jobs:
        assert farm.over(job).result.output["roles"] == ["reviewer", "planner"]  # type: ignore[union-attr]
    status, lines = farm.end(process)
    assert status == 0
    assert [line["event"] for line in lines] == ["ready", *["started", "done"] * 4, "stopping", "ended"]
    assert farm.broker.need(other).state == "queued"
    assert [view.alive for view in farm.broker.workers.all()] == [False]


def test_own_kinds_by_decorator(farm: Farm) -> None:
    farm.handlers(HANDLERS)
    farm.ready("--handlers", "mine", "--concurrency", "3")
    double, later = farm.submit("double", {"n": 21}), farm.submit("later")
    assert farm.over(double).result.output == {"twice": 42}  # type: ignore[union-attr]
    assert farm.over(later).result.output == "async"  # type: ignore[union-attr]
    crash = farm.over(farm.submit("crash", max_attempts=1))
    assert (crash.state, crash.errors[0].error) == ("dead", "ValueError: a bad day")
    hopeless = farm.over(farm.submit("hopeless"))
    assert (hopeless.state, hopeless.attempts, hopeless.errors[0].error) == ("dead", 1, "no use")
    odd = farm.over(farm.submit("odd"))
    assert odd.state == "dead"
    assert "refused" in odd.errors[0].error
    unknown = farm.over(farm.submit("knit"))
    assert "no handler for 'knit'" in unknown.errors[0].error


def test_no_job_ends_its_worker(farm: Farm) -> None:
    farm.handlers(HANDLERS)
    process = farm.ready("--handlers", "mine")
    deep = farm.over(farm.submit("deep"))
    assert (deep.state, deep.attempts) == ("dead", 1)
    assert deep.errors[0].error.startswith(
        "its result was refused: the result cannot be written as JSON: it is n"
    )
    for kind, error in (
        ("ctrl-c", "KeyboardInterrupt: 3"),
        ("exit", "SystemExit: 3"),
        ("generator", "GeneratorExit: 3"),
    ):
        found = farm.over(farm.submit("end", kind, max_attempts=1))
        assert (found.state, found.errors[0].error) == ("dead", error)
    for delay, error in (
        ("soon", "TypeError: "),
        ("inf", "ValueError: not now; and retry_in is not a delay"),
    ):
        later = farm.over(farm.submit("later-please", delay, max_attempts=1))
        assert (later.state, later.errors[0].error[: len(error)]) == ("dead", error)
    assert farm.over(farm.submit("child")).result.output == 0  # type: ignore[union-attr]
    assert process.poll() is None
    assert farm.end(process)[0] == 0


@pytest.mark.parametrize("status", [0, 7])
def test_an_end_by_a_handler_is_no_good_end(farm: Farm, status: int) -> None:
    farm.handlers(HANDLERS)
    process = farm.ready("--handlers", "mine")
    farm.submit("gone", status)
    assert process.wait(20) == (status or 1)


def test_a_worker_with_a_broken_slot_ends_and_says_so(farm: Farm) -> None:
    farm.handlers(
        HANDLERS + "from paneview.worker.slot import Slot\n"
        "def broken(*args): raise RuntimeError('a defect of ours')\n"
        "Slot._conclude = broken\n"
    )
    process = farm.ready("--handlers", "mine", "--concurrency", "2")
    farm.submit("double", {"n": 1})
    assert process.wait(20) == 1
    assert "a defect of ours" in farm.said(process)


def test_a_subclass_decides_for_itself(farm: Farm) -> None:
    farm.handlers(
        "from paneview.worker import Worker, Command\n"
        "class Mine(Worker):\n"
        "    def handle_command(self, cmd: Command) -> object:\n"
        "        if cmd.type == 'custom_action':\n"
        "            self.log.info('custom', text=cmd.payload.get('text', ''))\n"
        "            return 'mine'\n"
        "        return super().handle_command(cmd)\n"
    )
    process = farm.ready("--handlers", "mine")
    assert farm.of(process.pid).worker.meta["kinds"] == [], "nobody can know which"
    assert farm.over(farm.submit("custom_action", {"text": "x"})).result.output == "mine"  # type: ignore[union-attr]
    assert farm.over(farm.submit("ping")).state == "done"
    _, lines = farm.end(process)
    assert {"event": "log", "text": "custom text=x", "fields": {"text": "x"}}.items() <= lines[2].items()


@pytest.mark.parametrize("kind", ["patient", "deaf"])
def test_a_job_has_its_time(farm: Farm, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    farm.handlers("import paneview.worker.crew\npaneview.worker.crew.OVERTIME = 0.3\n" + HANDLERS)
    process = farm.ready("--handlers", "mine")
    late, following = farm.submit(kind, timeout=0.4, max_attempts=1), farm.submit("ping")
    assert (farm.over(late).state, farm.over(late).errors[0].error) == ("dead", "not done within 0.4 s")
    ended = farm.over(following)  # the worker goes on, whatever its handler does
    assert (ended.state, ended.attempts) == ("done", 1)
    assert farm.end(process)[0] == 0


def test_a_running_job_is_cancelled(farm: Farm) -> None:
    farm.handlers(HANDLERS)
    farm.ready("--handlers", "mine")
    job = farm.submit("patient")
    farm.running(job)
    began = time.monotonic()
    assert farm.broker.cancel(job, "no need") == "requested"
    assert farm.over(job).state == "cancelled"
    assert time.monotonic() - began < 10


def test_once(farm: Farm) -> None:
    jobs = [farm.submit(), farm.submit()]
    assert farm.worker("--once").wait(20) == 0
    assert [farm.broker.need(job).state.value for job in jobs] == ["done", "queued"]
    assert farm.worker("--once").wait(20) == 0
    assert farm.worker("--once").wait(20) == 0  # nothing is there


def test_once_does_not_wait_for_a_queue_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that a timer starts would be more and more."""
    asked = 0

    def fail(*_args: object) -> NoReturn:
        nonlocal asked
        asked += 1
        if asked > 1:
            worker.stop()  # it tries again: this ends it
        raise UnavailableError("the queue is away")

    worker = Worker("cook", setup=Setup(once=True), connect=fail)
    with pytest.raises(UnavailableError):
        worker.run()
    asked = 0
    monkeypatch.setattr(SqliteBroker, "claim", fail)
    place = f"sqlite:///{tmp_path}/queue.db"
    worker = Worker("cook", setup=Setup(once=True), connect=lambda: open_broker(place))
    assert (worker.run(), asked) == (1, 1)
    assert "! the queue is away" in capsys.readouterr().out


def test_who_has_nothing_to_do_ends_at_once_though_the_queue_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> NoReturn:
        if not worker._crew.ending:
            worker.stop()
        raise UnavailableError("the queue is away")

    monkeypatch.setattr(SqliteBroker, "claim", fail)
    place = f"sqlite:///{tmp_path}/queue.db"
    worker = Worker("cook", setup=Setup(grace=10), connect=lambda: open_broker(place))
    began = time.monotonic()
    assert worker.run() == 0
    assert time.monotonic() - began < 5


def test_the_queue_is_not_said_to_answer_before_it_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> NoReturn:
        raise UnavailableError("the queue is away")

    monkeypatch.setattr(SqliteRegistry, "beat", fail)
    told: list[bool] = []
    crew = Crew(1.0)
    place = f"sqlite:///{tmp_path}/queue.db"
    keeper = Keeper(
        crew, lambda: open_broker(place), Registration("w1"), 0.05, lambda *how: told.append(how[0])
    )
    keeper.start()
    wait_until(lambda: False in told)
    crew.close()
    keeper.join()
    assert True not in told


def test_at_its_end_it_finishes_what_it_can(farm: Farm) -> None:
    process = farm.ready("--command", "sh -c 'sleep 0.7; echo finished'")
    job = farm.submit("prompt", {"text": "x"})
    waiting = farm.submit("prompt", {"text": "y"})
    # Claimed is not enough: before that it is handed back.
    wait_until(lambda: '"started"' in farm.said(process))
    assert farm.end(process)[0] == 0
    assert farm.broker.need(job).result.output == "finished"  # type: ignore[union-attr]
    assert farm.broker.need(waiting).state == "queued"


def test_whichever_thread_gets_the_signal_it_ends(farm: Farm) -> None:
    """The kernel may choose any; only the main thread's sleep is ended by a signal of its own."""
    farm.handlers(
        "import signal, threading\nfrom paneview.worker import handler\n"
        "@handler('end')\ndef end(c):\n    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
    )
    process = farm.ready("--handlers", "mine")
    job = farm.submit("end")
    assert process.wait(20) == 0
    assert farm.broker.need(job).state == "done"


def test_asked_twice_it_hands_back(farm: Farm) -> None:
    process = farm.ready("--command", "sh -c 'sleep 1234.5'")
    job = farm.submit("prompt", {"text": "x"})
    farm.running(job)
    wait_until(lambda: alive_with("1234.5"))
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: '"stopping"' in farm.said(process))
    status, lines = farm.end(process)
    assert status == 0
    found = farm.broker.need(job)
    assert (found.state, found.attempts, found.errors) == ("queued", 0, ())
    assert lines[-2]["event"] == "returned"
    assert not alive_with("1234.5")


def test_a_shutdown_ends_it(farm: Farm) -> None:
    process = farm.ready("--name", "one")
    job = farm.submit("shutdown", target=Target(task="one"))
    assert process.wait(20) == 0
    assert farm.over(job).state == "done"


def test_a_killed_worker_s_job_is_done_by_another(farm: Farm) -> None:
    farm.handlers(HANDLERS)
    first = farm.ready("--handlers", "mine")
    job = farm.submit("patient", timeout=600)
    token = farm.running(job).token
    owner = farm.of(first.pid).worker.id
    first.kill()
    first.wait()
    assert farm.broker.release_owner(owner, "killed") == [job]
    farm.ready("--handlers", "mine")
    assert farm.running(job).token == token + 1


def test_a_worker_goes_on_in_a_queue_that_is_begun_anew(farm: Farm) -> None:
    farm.handlers(HANDLERS)
    process = farm.ready("--handlers", "mine")
    farm.running(farm.submit("patient"))
    for file in farm.folder.glob("queue.db*"):
        if file.is_file():
            file.unlink()
    with open_broker(farm.url) as new:
        job = new.submit(NewJob("double", {"n": 3})).id
        wait_until(lambda: new.need(job).state.final)
        assert new.result(job).output == {"twice": 6}  # type: ignore[union-attr]
        wait_until(lambda: [view.worker.pid for view in new.workers.all(alive_only=True)] == [process.pid])
    status, lines = farm.end(process)
    assert status == 0
    assert [line["event"] for line in lines if line["event"] in ("returned", "done", "failed")] == [
        "returned",
        "done",
    ]


def test_leases_are_renewed_however_busy_the_handler_is(farm: Farm) -> None:
    farm.handlers(
        "from paneview.worker import handler\n"
        "@handler('spin')\n"
        "def spin(c):\n"
        "    while not c.cancelled: pass\n"
        "    raise TimeoutError\n"
    )
    process = farm.ready("--handlers", "mine", PANEVIEW_LEASE="1.2")
    other = farm.ready("--handlers", "mine", PANEVIEW_LEASE="1.2")
    job = farm.submit("spin", timeout=2.5, max_attempts=1)
    found = farm.over(job)
    assert (found.token, found.errors[0].error) == (1, "not done within 2.5 s")
    for one in (process, other):
        assert farm.end(one)[0] == 0


def test_a_defect_does_not_end_who_keeps_the_leases(tmp_path: Path) -> None:
    told: list[tuple[bool, str]] = []

    def connect() -> Broker:
        if not told:
            raise sqlite3.ProgrammingError("a mistake of ours")
        return open_broker(f"sqlite:///{tmp_path}/queue.db")

    crew = Crew(1.0)
    keeper = Keeper(crew, connect, Registration("w1"), 0.05, lambda *heard: told.append(heard))
    keeper.start()
    wait_until(lambda: (True, "") in told)
    crew.close()
    keeper.join()
    assert told[0] == (False, "defect: ProgrammingError('a mistake of ours')")
    with open_broker(f"sqlite:///{tmp_path}/queue.db") as broker:
        assert [view.worker.id for view in broker.workers.all()] == ["w1"]


def test_a_job_may_end_just_while_the_keeper_drops_its_connection(tmp_path: Path) -> None:
    class Dropping(Keeper):
        @property
        def _broker(self) -> Broker | None:
            return self.__dict__.pop("broker", None)  # gone before the next look

        @_broker.setter
        def _broker(self, broker: Broker | None) -> None:
            self.__dict__["broker"] = broker

    crew = Crew(1.0)
    with open_broker(f"sqlite:///{tmp_path}/queue.db") as broker:
        keeper = Dropping(crew, lambda: broker, Registration("w1"), 0.05, lambda *_heard: None)
        keeper._broker = broker
        crew.close()  # as the end of a job, it has the keeper look again
        assert keeper._broker is None
        keeper._beat(broker)  # a last one, when the worker has signed off
        assert broker.workers.all() == []


def test_a_job_that_comes_back_to_the_worker_that_lost_it_costs_no_slot(tmp_path: Path) -> None:
    begun: list[Command] = []
    go = threading.Event()

    def hold(command: Command) -> None:
        begun.append(command)
        while not go.wait(0.01) and not command.cancelled:
            pass

    handlers = Handlers()
    handlers.add("hold", hold)
    with open_broker(f"sqlite:///{tmp_path}/queue.db") as broker:
        connect = partial(open_broker, f"sqlite:///{tmp_path}/queue.db")
        worker = Worker(setup=Setup(concurrency=2, environ={}), connect=connect, handlers=handlers)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            broker.submit(NewJob("hold"))
            wait_until(lambda: len(begun) == 1)
            broker.release_owner(worker.me.id, "it was taken for dead")
            wait_until(lambda: len(begun) == 2)
            broker.submit(NewJob("hold"))
            wait_until(lambda: len(begun) == 3)  # in the first slot, which was told that its job is lost
            assert begun[0].reason == "lost"
        finally:
            go.set()
            worker.stop()
            thread.join()


def test_it_has_one_connection_however_often_it_tries_to_join(tmp_path: Path) -> None:
    opened: list[Broker] = []
    out = io.StringIO()

    def connect() -> Broker:
        opened.append(open_broker(f"sqlite:///{tmp_path}/queue.db"))
        opened[-1].hurry(0.01)
        return opened[-1]

    worker = Worker(setup=Setup(state=tmp_path, environ={}), connect=connect, console=Console(stream=out))
    running = threading.Thread(target=worker.run)
    try:
        with open_broker(f"sqlite:///{tmp_path}/queue.db") as other, other._database.write():  # type: ignore[attr-defined]
            running.start()
            wait_until(lambda: "trying again" in out.getvalue())
        wait_until(lambda: len(opened) > 1)  # the second is its keeper's
    finally:
        worker.stop()
        running.join()
    assert [one._database.close.alive for one in opened] == [False, False]  # type: ignore[attr-defined]


def test_one_that_is_told_to_end_before_it_could_join_leaves_no_note(tmp_path: Path) -> None:
    """By which a watchdog would bring it back."""

    def connect() -> Broker:
        broker = open_broker(f"sqlite:///{tmp_path}/queue.db")
        broker.hurry(0.01)
        return broker

    pane = {"TMUX": f"{tmp_path}/no.sock,1,0", "TMUX_PANE": "%1"}
    worker = Worker(setup=Setup(state=tmp_path, environ=pane), connect=connect)
    running = threading.Thread(target=worker.run)
    with open_broker(f"sqlite:///{tmp_path}/queue.db") as other, other._database.write():  # type: ignore[attr-defined]
        running.start()
        wait_until(lambda: list(records.folder().glob("*.json")))
        worker.stop()
        running.join()
    assert not list(records.folder().iterdir())


def test_nothing_is_called_after_the_block_that_asked_for_it(tmp_path: Path) -> None:
    with open_broker(f"sqlite:///{tmp_path}/queue.db") as broker:
        broker.submit(NewJob("x"))
        (lease,) = broker.claim(Claim("w1", lanes_of("w1", (), "", ())))
    command = Command(lease, lambda _line: None, lambda _why: None)
    called, left = threading.Event(), threading.Event()
    late: list[bool] = []

    def wake() -> None:
        called.set()
        late.append(left.wait(0.05))

    keeper = threading.Thread(target=command.cancel, args=("cancel",))
    with command.on_cancel(wake):
        keeper.start()
        called.wait()
    left.set()
    keeper.join()
    assert late == [False]


def test_a_program_with_many_open_files_may_have_a_worker() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    crew = Crew(1.0)
    low = crew.alarm
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        crew.alarm = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1024)
        crew.ring()
        crew.sleep(None)
    finally:
        for descriptor in {low, crew.alarm, crew.bell}:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_stopped_worker_loses_its_job_and_does_no_harm(farm: Farm) -> None:
    farm.handlers(
        "import os\nfrom paneview.worker import handler\n"
        "@handler('slow')\ndef slow(c):\n    c.wait(1.0)\n    return os.getpid()\n"
    )
    first = farm.ready("--handlers", "mine", PANEVIEW_LEASE="0.5")
    job = farm.submit("slow")
    farm.running(job)
    psutil.Process(first.pid).suspend()
    second = farm.ready("--handlers", "mine", PANEVIEW_LEASE="5")
    assert farm.over(job).result.output == second.pid  # type: ignore[union-attr]
    psutil.Process(first.pid).resume()
    _, lines = farm.end(first)
    assert farm.broker.need(job).result.output == second.pid  # type: ignore[union-attr]
    assert "done" not in [line["event"] for line in lines]


def test_it_says_what_is_wrong_with_its_handlers(farm: Farm) -> None:
    farm.handlers("raise RuntimeError('broken')")
    farm.handlers("x = 1", "empty")
    assert "cannot be imported: RuntimeError: broken" in farm.cli("worker", "--handlers", "mine").err
    assert "no function with @handler" in farm.cli("worker", "--handlers", "empty").err
    farm.handlers("raise SystemExit(0)", "quits")
    done = farm.cli("worker", "--handlers", "quits")
    assert done.status == 1
    assert "cannot be imported: SystemExit: 0" in done.err
    assert farm.cli("worker", "--concurrency", "0").status == 2
    assert farm.cli("worker", "--role", "a b").status == 2
