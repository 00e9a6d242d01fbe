"""The watchdog, with workers that a person has started in panes of a real tmux."""

from __future__ import annotations

import io
import itertools
import json
import os
import shlex
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from paneview.broker import Broker, Target, UnavailableError, open_broker
from paneview.config.queue import QueueSettings
from paneview.proc import boot_id, pid_space
from paneview.worker import records
from paneview.worker.console import Console
from paneview.worker.records import Record
from paneview.worker.watchdog import Watchdog
from tests import prepared
from tests.broker.servers import redis_server
from tests.cli.support import COMMAND, environment
from tests.harness import Sandbox, alive, wait_until
from tests.worker.support import FREEZE, Farm, alive_with, farm_in, told


class Panes:
    """A tmux server with a session in which workers are started by hand."""

    def __init__(self, sandbox: Sandbox, farm: Farm) -> None:
        self.sandbox = sandbox
        self.farm = farm
        variables = [f"-e{name}={value}" for name, value in environment(farm.env).items()]
        self.sandbox.tmux(
            "-f/dev/null", "new-session", "-d", "-s", "mine", *variables, "-c", str(farm.folder), "sh"
        )

    def worker(self, *args: str) -> str:
        """Type a worker into a new pane; the pane's id."""
        folder = str(self.farm.folder)
        pane = self.sandbox.tmux(
            "split-window", "-d", "-P", "-F", "#{pane_id}", "-t", "mine", "-c", folder, "sh"
        )
        self.sandbox.tmux("select-layout", "-t", "mine", "tiled")
        self.sandbox.tmux("send-keys", "-t", pane, shlex.join([*COMMAND, "worker", *args]), "Enter")
        name = args[args.index("--name") + 1] if "--name" in args else pane
        wait_until(lambda: self.pid(name))
        return pane

    def program(self, command: str) -> str:
        """Start somebody's program in a new pane; the pane's id."""
        return self.sandbox.tmux("split-window", "-d", "-P", "-F", "#{pane_id}", "-t", "mine", command)

    def shows(self, pane: str) -> str:
        """The program that runs in a pane."""
        return self.sandbox.tmux("display-message", "-p", "-t", pane, "#{pane_current_command}")

    def pid(self, name: str) -> int | None:
        """The process of the live worker of this name."""
        found = [v.worker.pid for v in self.farm.broker.workers.all(alive_only=True) if v.worker.name == name]
        return found[0] if found and alive(found[0]) else None


@pytest.fixture
def panes(sandbox: Sandbox, farm: Farm) -> Iterator[Panes]:
    yield Panes(sandbox, farm)
    sandbox.end_tmux()


def below(pid: int, ancestor: int) -> bool:
    """Whether this process is a descendant of the other one."""
    try:
        return any(parent.pid == ancestor for parent in psutil.Process(pid).parents())
    except psutil.NoSuchProcess:
        return False


def watchdog(farm: Farm, **env: str) -> prepared.Process:
    with (farm.folder / f"{len(farm.processes)}.out").open("w") as out:
        words = ("watchdog", "--check-interval", "0.3", "--json")
        process = prepared.start(*words, cwd=farm.folder, env=environment({**farm.env, **env}), out=out)
    farm.processes.append(process)
    wait_until(lambda: '"ready"' in farm.said(process))
    return process


def test_a_killed_worker_comes_back_in_its_pane(farm: Farm, panes: Panes) -> None:
    pane = panes.worker("--role", "r", "--command", "sh -c 'cat; sleep 8765'")
    farm.broker.workers.quarantine(pane, "2 respawns in 300 s", host="elsewhere")
    dog = watchdog(farm)
    job = farm.submit("prompt", {"text": "x"}, Target(role="r"), timeout=600)
    farm.running(job)
    wait_until(lambda: alive_with("8765"))
    first = panes.pid(pane)
    assert first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: farm.broker.need(job).token == 2)
    assert farm.broker.need(job).errors[0].error == "its process died"
    second = panes.pid(pane)
    assert second
    assert second != first
    wait_until(lambda: len(alive_with("8765")) == 1)  # the first one's program was ended
    assert farm.end(dog)[0] == 0
    assert {"died", "respawned"} <= {line["event"] for line in told(farm.said(dog))}
    assert "pane_respawned" in [event.kind for event in farm.broker.events.tail(100).events]


def test_it_gets_into_the_queue_that_its_worker_was_in(sandbox: Sandbox) -> None:
    """With its password and its prefix, which nobody is shown."""
    with redis_server() as server:
        with server.client as client:
            client.config_set("requirepass", "hidden")
        url = f"redis://:hidden@127.0.0.1:{server.port}/0?prefix=team"
        with farm_in(sandbox.root / "farm", url=url) as farm:
            panes = Panes(sandbox, farm)
            length = f"8{os.getpid()}"  # by which it is found, of this run alone
            pane = panes.worker("--role", "r", "--command", f"sh -c 'cat; sleep {length}'")
            dog = watchdog(farm, PANEVIEW_LEASE="600")
            job = farm.submit("prompt", {"text": "x"}, Target(role="r"), timeout=600)
            farm.running(job)
            first = panes.pid(pane)
            assert first
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: farm.broker.need(job).token == 2)
            second = wait_until(lambda: panes.pid(pane))
            assert second
            # The first was killed as it began its program, which is ended all the same.
            wait_until(lambda: (left := alive_with(length)) and all(below(pid, second) for pid in left))
            assert farm.end(dog)[0] == 0
            assert "hidden" not in farm.said(dog)
            panes.sandbox.end_tmux()
            wait_until(lambda: not alive(second))


def test_a_hung_worker_is_ended_and_comes_back(farm: Farm, panes: Panes) -> None:
    pane = panes.worker()
    watchdog(farm)
    first = panes.pid(pane)
    assert first
    os.kill(first, signal.SIGSTOP)
    wait_until(lambda: not alive(first))
    wait_until(lambda: panes.pid(pane))


def test_one_that_is_stopped_while_it_writes_is_ended_and_nobody_else(farm: Farm, panes: Panes) -> None:
    """It keeps all others from the queue: their heartbeats must arrive all the same, and none of them be killed."""
    farm.handlers(FREEZE)
    panes.worker("--name", "frozen", "--role", "cold", "--handlers", "mine")
    panes.worker("--name", "other", "--handlers", "mine")
    first, other = panes.pid("frozen"), panes.pid("other")
    dog = watchdog(farm)
    job = farm.submit("freeze", farm.url, target=Target(role="cold"))
    assert first
    wait_until(lambda: not alive(first), 30)
    assert farm.over(job, 30).result.output == 2  # type: ignore[union-attr]
    assert panes.pid("other") == other
    assert [line["name"] for line in told(farm.said(dog)) if line["event"] == "hung"] == ["frozen"]


def test_a_crash_loop_ends_in_quarantine(farm: Farm, panes: Panes) -> None:
    pane = panes.worker()
    watchdog(farm, PANEVIEW_RESPAWN_LIMIT="2")
    for _ in range(3):
        pid = wait_until(lambda: panes.pid(pane))
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: not alive(pid))
    wait_until(lambda: pane in farm.broker.workers.quarantined())
    listed = farm.cli("workers", "--json").json["workers"]
    assert [(one["name"], one["quarantined"], one["reason"]) for one in listed] == [
        (pane, True, "2 respawns in 300 s")
    ]
    assert panes.pid(pane) is None
    assert farm.cli("unquarantine", pane).status == 0
    wait_until(lambda: panes.pid(pane))


def test_a_crash_loop_is_one_also_when_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QueueSettings(broker=f"sqlite://{tmp_path}/queue.db", respawn_limit=1)
    record = Record("w1", "cook", "here", settings.broker, 1, 1, "another boot", "%1", "", (), "/", {})
    clock = itertools.count(1_700_000_000, 86_400)
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    with open_broker(settings.broker) as broker:
        watching = Watchdog(lambda _url: broker, settings, 1.0, Console(stream=io.StringIO()))
        for _ in range(2):
            note = tmp_path / "w1.json"
            note.touch()
            watching._died(broker, note, record)
        for end in (watching._alarm, watching._bell):
            os.close(end)
        assert list(broker.workers.quarantined()) == ["cook"]


def test_an_outage_of_the_queue_is_told_once_and_its_end(tmp_path: Path) -> None:
    out = io.StringIO()

    def act(_broker: Broker) -> None:
        if next(away):
            raise UnavailableError("the queue is away")

    with open_broker(f"sqlite:///{tmp_path}/queue.db") as broker:
        watching = Watchdog(lambda _url: broker, QueueSettings(), 1.0, Console(stream=out))
        away = iter((True, True, False, False, True))
        for _ in range(5):
            watching._guarded("a queue", act)
        for end in (watching._alarm, watching._bell):
            os.close(end)
    assert [line.split(maxsplit=1)[1] for line in out.getvalue().splitlines()] == [
        "! the queue is away", "· the queue answers again", "! the queue is away",
    ]  # fmt: skip


def test_one_that_was_ended_stays_down(farm: Farm, panes: Panes) -> None:
    pane = panes.worker()
    dog = watchdog(farm)
    pid = panes.pid(pane)
    assert pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid))
    other = panes.worker("--name", "gone")
    pid = panes.pid("gone")
    assert pid
    panes.sandbox.tmux("kill-pane", "-t", other)
    wait_until(lambda: not alive(pid))
    assert panes.pid("gone") is None
    third = panes.worker("--name", "third")
    pid = panes.pid("third")
    assert pid
    dog.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)  # it dies, and when that is seen there is nowhere to bring it back to
    panes.sandbox.tmux("kill-pane", "-t", third)
    dog.send_signal(signal.SIGCONT)
    try:
        wait_until(lambda: '"event": "gone"' in farm.said(dog))
    except AssertionError:
        raise AssertionError(farm.said(dog)) from None
    assert panes.pid(pane) is None, farm.said(dog)
    assert '"event": "hung"' not in farm.said(dog)
    assert farm.end(dog)[0] == 0


def test_a_pane_of_a_later_tmux_server_is_left_alone(farm: Farm, panes: Panes) -> None:
    """Its id and the socket come back, with somebody's program in it."""
    pane = panes.worker("--name", "w")
    pid = panes.pid("w")
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    panes.sandbox.end_tmux()
    again = Panes(panes.sandbox, farm)
    theirs = again.program("sleep 8767")
    assert theirs == pane
    dog = watchdog(farm)
    wait_until(lambda: '"event": "gone"' in farm.said(dog))
    assert again.shows(pane) == "sleep"
    assert panes.pid("w") is None
    farm.end(dog)
    dog = watchdog(farm)  # the note went with it
    farm.end(dog)
    assert '"event": "gone"' not in farm.said(dog)


def test_what_somebody_else_has_started_in_the_pane_stays(farm: Farm, panes: Panes) -> None:
    panes.worker("--name", "w")
    pane, pid = panes.worker("--name", "v"), panes.pid("v")
    assert pid
    os.kill(pid, signal.SIGKILL)
    panes.sandbox.tmux("respawn-pane", "-k", "-t", pane, "sleep 8768")
    dog = watchdog(farm)
    wait_until(lambda: '"event": "gone"' in farm.said(dog))
    assert panes.shows(pane) == "sleep"
    (note,) = records.folder().glob("*.json")
    data = json.loads(note.read_text())
    for key in ("server", "server_start", "pane_pid"):  # a note of an older version tells less
        del data[key]
    note.write_text(json.dumps(data))
    os.kill(data["pid"], signal.SIGKILL)
    wait_until(lambda: farm.said(dog).count('"event": "gone"') == 2)
    assert panes.shows(data["pane"]) == "sh"


def test_it_goes_on_when_it_cannot_work_for_a_while(farm: Farm) -> None:
    records.folder().parent.mkdir(parents=True, exist_ok=True)
    records.folder().touch()  # instead of a full disk, or no descriptor left
    dog = watchdog(farm)
    wait_until(lambda: "it goes on, after" in farm.said(dog))
    records.folder().unlink()
    wait_until((records.folder() / "watchdog.lock").exists)
    assert farm.end(dog)[0] == 0


def test_a_note_that_a_killed_watchdog_has_hidden_is_shown_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.folder().mkdir(parents=True)
    note = records.folder() / "w.again"
    note.touch()
    records.unhide()
    assert note.exists()  # its worker is just starting
    monkeypatch.setattr(records, "HIDDEN", -1.0)
    records.unhide()
    assert [found.name for found in records.folder().iterdir()] == ["w.json"]


def test_a_note_of_another_container_is_no_death_to_bury(sandbox: Sandbox) -> None:
    """It shares our state folder and our boot, and its pids mean others here."""
    records.folder().mkdir(parents=True)
    fields = {"id": "w", "name": "w", "host": "h", "broker": "sqlite:", "pid": 7, "start": 1, "pane": "%1"}
    fields |= {"socket": "/tmp/no.sock", "argv": [], "cwd": "/", "environ": {}}
    seen = {}
    for boot in (boot_id(), "before"):
        for space in ("", pid_space(), "1"):
            note = {**fields, "boot": boot, "space": space}
            (records.folder() / "w.json").write_text(json.dumps(note))
            seen[boot, space] = len(records.read_all())
    assert seen.pop((boot_id(), "1")) == 0
    assert set(seen.values()) == {1}


def test_one_that_a_person_has_started_again_is_left_alone(farm: Farm, panes: Panes) -> None:
    """In the same pane, by hand, while no watchdog looked."""
    pane, pid = panes.worker("--name", "w"), panes.pid("w")
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    panes.sandbox.tmux("send-keys", "-t", pane, shlex.join([*COMMAND, "worker", "--name", "w"]), "Enter")
    second = wait_until(lambda: panes.pid("w"))
    wait_until(lambda: len(list(records.folder().glob("*.json"))) == 2)
    dog = watchdog(farm)
    wait_until(lambda: {"respawned", "gone"} & {line["event"] for line in told(farm.said(dog))})
    assert "is in its pane" in farm.said(dog)
    assert panes.pid("w") == second


def test_it_goes_to_the_server_that_its_worker_was_in(farm: Farm, panes: Panes) -> None:
    """Also where the variable names another, in which somebody's program has a pane of the same id."""
    pane, pid = panes.worker("--name", "w"), panes.pid("w")
    other = replace(panes.sandbox, tmux_socket=str(panes.sandbox.root / "o.sock"))
    there = Panes(other, farm)
    try:
        assert there.program("sleep 8769") == pane
        dog = watchdog(farm, PANEVIEW_TMUX_SOCKET=other.tmux_socket)
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: {"respawned", "gone"} & {line["event"] for line in told(farm.said(dog))})
        assert there.shows(pane) == "sleep"
        wait_until(lambda: panes.pid("w") not in (None, pid))
    finally:
        other.end_tmux()
