"""Rows P1 to P8, P12, P13 and P15: workers in tmux panes, with Redis as PaneBus has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.servers import RedisServer, redis_server
from tests.broker.test_redis import sentinels
from tests.harness import wait_until
from tests.parity.crew import Crew, kill
from tests.parity.place import PATIENCE, Place

pytestmark = pytest.mark.timeout(120)

HANDLERS = """\
import os, time
from paneview.worker import handler

@handler("slow")
def slow(command):
    with open("begun", "a") as begun:
        print(os.getpid(), file=begun, flush=True)
    end = time.monotonic() + command.payload["seconds"]
    while time.monotonic() < end and not command.cancelled:
        time.sleep(0.02)
    if command.cancelled:
        raise RuntimeError("ended early")
    return {"by": os.getpid()}

@handler("fails")
def fails(command):
    raise RuntimeError("it burnt")
"""
SUBCLASS = """\
from paneview.worker import Worker

class MyWorker(Worker):
    def handle_command(self, cmd):
        if cmd.type == "custom_action":
            self.log.info("custom", text=cmd.payload["text"])
            return cmd.payload["text"].upper()
        return super().handle_command(cmd)
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def crew(place: Place, redis: RedisServer) -> Iterator[Crew]:
    """Workers on a Redis of the tests' own, told of it as PaneBus is."""
    redis.forget()
    made = Crew(place, "", PANEBUS_REDIS_URL=f"redis://127.0.0.1:{redis.port}/0")
    made.handlers(HANDLERS)
    yield made
    made.close()


def begun(crew: Crew, count: int = 1) -> list[int]:
    """The processes that have begun `slow`, once there are so many."""
    file = crew.folder / "begun"
    wait_until(lambda: file.exists() and len(file.read_text().split()) >= count, PATIENCE)
    return [int(word) for word in file.read_text().split()]


def test_P01_a_worker_knows_its_pane_and_has_roles_and_concurrency(crew: Crew) -> None:
    pane = crew.pane("--role", "processor", "--role", "planner", "--concurrency", "2", "--handlers", "mine")
    outside = crew.worker("--role", "processor")
    found = {one["name"]: one for one in crew.ask("panes", "--role", "processor")["workers"]}
    assert (found[pane]["pane"], found[pane]["roles"], found[pane]["concurrency"]) == (
        pane,
        ["processor", "planner"],
        2,
    )
    (name,) = [name for name in found if name.startswith("standalone-")]
    assert found[name]["pid"] == outside.pid
    jobs = [crew.submit(pane, "slow", "--payload", '{"seconds": 60}') for _ in range(2)]
    assert len(set(begun(crew, 2))) == 1  # both at once, in the one process
    for job in jobs:
        assert crew.ask("cancel", job)["results"][0]["action"] == "requested"
        assert crew.until(job, "cancelled")


def test_P02_nothing_is_lost_and_no_stale_worker_overwrites(crew: Crew) -> None:
    first = crew.worker("--handlers", "mine", "--name", "first")
    job = crew.submit("any", "slow", "--payload", '{"seconds": 2}')
    assert begun(crew) == [first.pid]
    first.send_signal(signal.SIGSTOP)  # longer than its lease
    second = crew.worker("--handlers", "mine", "--name", "second")
    assert begun(crew, 2)[1] == second.pid
    first.send_signal(signal.SIGCONT)
    answer = crew.result(job)
    assert answer["result"]["output"] == {"by": second.pid}
    found = crew.job(job)
    assert (found["attempts"], found["token"], found["result"]["token"]) == (2, 2, 2)
    kill(first.pid)
    again = crew.submit("any", "slow", "--payload", '{"seconds": 1}')
    begun(crew, 3)
    kill(second.pid)
    third = crew.worker("--handlers", "mine")
    assert crew.result(again)["result"]["output"] == {"by": third.pid}


def test_P03_heartbeats_have_their_interval_and_long_commands_renew_their_lease(crew: Crew) -> None:
    crew.env = {key: value for key, value in crew.env.items() if "HEARTBEAT" not in key}
    crew.worker("--name", "plain")
    crew.worker(
        "--handlers", "mine", "--name", "quick", PANEBUS_HEARTBEAT_INTERVAL="0.2", PANEBUS_HEARTBEAT_TTL="7"
    )
    job = crew.submit("quick", "slow", "--payload", '{"seconds": 2.6}')
    found = {one["name"]: one for one in crew.ask("workers")["workers"]}
    assert (found["plain"]["ttl"], found["quick"]["ttl"]) == (60.0, 7.0)
    assert crew.result(job)["result"]["status"] == "ok"
    assert crew.job(job)["attempts"] == 1  # its lease was two seconds
    found = {one["name"]: one for one in crew.ask("workers")["workers"]}
    assert found["quick"]["heartbeat_age_s"] < 2 < found["plain"]["heartbeat_age_s"]


def test_P04_the_watchdog_brings_workers_back_with_what_they_held(crew: Crew) -> None:
    pane = crew.pane("--handlers", "mine")
    crew.begin("watchdog", "--check-interval", "0.5")
    job = crew.submit(pane, "slow", "--payload", '{"seconds": 2}')
    (first,) = begun(crew)
    kill(first)
    second = begun(crew, 2)[1]
    assert second != first
    assert crew.result(job)["result"]["output"] == {"by": second}
    worker = crew.of(pane)
    assert worker
    assert worker["pid"] == second
    assert {"pane_respawned", "worker_started", "command_received", "command_completed"} <= crew.kinds()
    os.kill(second, signal.SIGSTOP)  # alive, and silent
    wait_until(lambda: (crew.of(pane) or worker)["pid"] != second, PATIENCE, 0.1)
    assert "heartbeat_missed" in crew.kinds()


def test_P05_a_crash_loop_is_quarantined_shown_and_released_by_hand(place: Place) -> None:
    place.start('[queue]\nrespawn_limit = 2\nrespawn_window = 300\n[workers.cook]\nhandlers = ["mine"]\n')
    place.wait("cook", "failed")
    wait_until(lambda: "cook" in place.ask("status")["queue"]["quarantined"], PATIENCE, 0.1)
    assert "2 respawns in 300 s" in place.ask("workers")["quarantined"]["cook"]["reason"]
    assert "✗ cook is quarantined" in place.run("status").out
    assert "pane_quarantined" in {event.get("panebus") for event in place.events()}
    (place.folder / "mine.py").write_text(HANDLERS)
    assert place.ask("unquarantine", "cook")["results"][0]["ok"]
    place.wait("cook", "running")
    wait_until(lambda: place.ask("status")["queue"]["quarantined"] == {}, PATIENCE, 0.1)


def test_P06_dead_letters_are_looked_at_retried_and_purged(crew: Crew) -> None:
    crew.worker("--handlers", "mine")
    job = crew.submit("any", "fails", "--payload", '{"n": 1}', "--attempts", "2")
    unknown = crew.submit("any", "no-such-kind", "--delay", "1ms")  # else it is refused
    assert crew.result(job)["error"] == "RuntimeError: it burnt"
    crew.until(unknown, "dead")
    listed = {one["id"]: one for one in crew.ask("dlq", "list")["jobs"]}
    assert set(listed) == {job, unknown}
    assert (listed[job]["payload"], listed[job]["attempts"]) == ({"n": 1}, 2)
    shown = crew.ask("dlq", "show", job)["jobs"][0]
    assert [one["error"] for one in shown["errors"]] == ["RuntimeError: it burnt"] * 2
    first, second = (one["at"] for one in shown["errors"])
    assert second - first > 1  # back-off before it came to that
    assert crew.ask("dlq", "retry", unknown)["results"][0]["action"] == "retried"
    crew.until(unknown, "dead")
    assert len(crew.job(unknown)["errors"]) == 2
    assert len(crew.ask("dlq", "purge", "--all")["results"]) == 2
    assert crew.ask("dlq", "list")["jobs"] == []
    assert "command_failed" in crew.kinds()


def test_P07_commands_go_to_a_pane_a_role_a_host_and_everybody(crew: Crew) -> None:
    pane = crew.pane("--role", "a")
    crew.worker("--role", "a", "--role", "b", "--name", "two", "--host", "elsewhere")
    for target, expected in (
        (pane, {pane}),
        ("role:b", {"two"}),
        ("host:elsewhere", {"two"}),
        ("any", {pane, "two"}),
    ):
        job = crew.submit(target, "ping", "--timeout", "5000ms")
        assert crew.result(job)["result"]["output"]["worker"] in expected
    assert crew.job(job)["timeout"] == 5.0
    sent = crew.ask("dispatch-role", "a", "ping")["jobs"]
    assert {one["name"] for one in sent} == {pane, "two"}
    sent = crew.ask("broadcast", "ping")["jobs"]
    assert {crew.result(one["id"])["result"]["output"]["worker"] for one in sent} == {pane, "two"}
    key = ("--key", "once", "--priority", "7", "--delay", "1h")
    one, again = (crew.ask("dispatch", "any", "ping", *key) for _ in range(2))
    assert (one["id"], one["created"], again["created"]) == (again["id"], True, False)
    found = crew.job(one["id"])
    assert (found["state"], found["priority"], found["key"]) == ("delayed", 7, "once")


def test_P08_prompts_pings_shutdowns_and_own_kinds(crew: Crew) -> None:
    allowed = crew.folder / "work"
    allowed.mkdir()
    (crew.folder / "work" / "out").symlink_to("/")
    crew.handlers(SUBCLASS, "sub")
    plugin = crew.folder / "site" / "kinds-1.0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: kinds\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[paneview.handlers]\nkinds = kinds\n")
    (crew.folder / "site" / "kinds.py").write_text(
        "from paneview.worker import handler\n@handler('twice')\n"
        "async def twice(command):\n    return command.payload * 2\n"
    )
    command = ("--command", "sh -c 'pwd; cat'", "--allow", "work")
    process = crew.worker(
        "--handlers", "sub", "--handlers", "mine", *command, PYTHONPATH=str(crew.folder / "site")
    )

    def prompt(text: str, folder: Path) -> str:
        payload = {
            "text": text,
            "context": {"working_dir": str(folder)},
            "command": "rm -rf /",
            "env": {"A": "b"},
        }
        return crew.submit("any", "prompt", "--payload", json.dumps(payload), "--attempts", "1")

    assert (
        crew.result(prompt("$(touch evil) hello", allowed))["result"]["output"]
        == f"{allowed}\n$(touch evil) hello"
    )
    assert not (crew.folder / "evil").exists()
    for folder in (crew.folder, allowed / "out", allowed / ".." / "site"):
        refused = crew.result(prompt("x", folder))
        assert "allow" in refused["error"], refused
    assert (
        crew.result(crew.submit("any", "custom_action", "--payload", '{"text": "abc"}'))["result"]["output"]
        == "ABC"
    )
    assert crew.result(crew.submit("any", "twice", "--payload", "4"))["result"]["output"] == 8
    assert crew.result(crew.submit("any", "ping"))["result"]["output"]["pong"] is True
    crew.result(crew.submit("any", "shutdown"))
    assert process.wait(PATIENCE) == 0


def test_P12_status_panes_and_events_with_their_names(place: Place) -> None:
    place.start('[queue]\nheartbeat_interval = 0.3\n[workers.cook]\nrole = "chef"\ncommand = ["cat"]\n')
    wait_until(lambda: place.ask("status")["queue"]["workers"] == 1, PATIENCE, 0.1)
    assert [one["name"] for one in place.ask("panes", "--role", "chef")["workers"]] == ["cook"]
    job = place.ask("dispatch", "cook", "prompt", "--payload", '{"text": "soup"}')["id"]
    place.ask("dispatch", "host:nowhere", "ping")
    assert place.ask("result", job, "--wait")["result"]["output"] == "soup"
    summary = place.ask("status")["queue"]
    assert (summary["waiting"], summary["running"], summary["dead"]) == (1, 0, 0)
    assert "queue sqlite:" in (out := place.run("status").out)
    assert "1 waiting, 0 running" in out
    place.task("cook")
    os.kill(int(place.ask("workers")["workers"][0]["pid"]), signal.SIGKILL)
    wait_until(lambda: len(place.events("pane_respawned")) == 1, PATIENCE, 0.1)
    wait_until(lambda: len(place.events("worker_started")) == 2, PATIENCE, 0.1)
    place.ask("stop", "cook")
    both = place.events()
    assert {"task_started", "task_exited"} <= {event["event"] for event in both}
    theirs = {"worker_started", "worker_stopped", "command_received", "command_completed", "pane_respawned"}
    assert theirs <= {event.get("panebus") for event in both}
    assert [event["ts"] for event in both] == sorted(event["ts"] for event in both)
    (done,) = place.events("command_completed")
    assert (done["event"], done["task"], done["job"]) == ("job_done", "cook", job)
    assert len(place.ask("events", "--count", "3")["events"]) == 3
    with place.following("events", "-f", "--kind", "command_received", "--json") as stream:
        place.ask("start", "cook")
        later = place.ask("dispatch", "cook", "ping")["id"]
        assert stream.stdout
        while (event := json.loads(stream.stdout.readline()))["job"] != later:
            pass
        assert (event["panebus"], event["task"]) == ("command_received", "cook")


def test_P13_settings_by_flag_environment_dotenv_file_and_default(place: Place) -> None:
    crew = Crew(place, "")
    crew.env = {}

    def limit(**env: str) -> str:
        """At which depth a target of its own is full."""
        target = f"host:h{time.monotonic_ns()}"
        for count in range(3):
            done = crew.run("dispatch", target, "ping", "--json", **env)
            if done.status:
                assert "is full" in json.loads(done.out)["error"]
                return str(count)
        return "more"

    place.write("[queue]\nmax_queue_depth = 1\n")
    assert limit() == "1"
    (place.folder / ".env").write_text("OTHER=1\nPANEBUS_MAX_QUEUE_DEPTH=2\n")
    assert limit() == "2"
    assert limit(PANEBUS_MAX_QUEUE_DEPTH="1") == "1"
    assert limit(PANEBUS_MAX_QUEUE_DEPTH="1", PANEVIEW_MAX_QUEUE_DEPTH="0") == "more"
    (place.folder / ".env").unlink()
    for name, word in (("HEARTBEAT_TTL", "soon"), ("LOG_LEVEL", "LOUD"), ("RESPAWN_LIMIT", "-1")):
        refused = crew.run("jobs", "--json", **{f"PANEBUS_{name}": word})
        assert (refused.status, f"PANEBUS_{name} must be" in refused.out) == (2, True)
    for variable in ("PANEBUS_REDIS_URL", "PANEVIEW_REDIS_URL", "PANEVIEW_BROKER"):
        env = {variable: "carrier-pigeon://home"}
        assert "no broker is called 'carrier-pigeon'" in crew.run("jobs", **env).err
    assert crew.ask("jobs", "--broker", "sqlite:", **env)["count"] > 0
    place.write("")
    values = subprocess.run(
        [sys.executable, "-c", "from paneview.config.queue import find_queue; print(find_queue({}).settings)"],
        cwd=place.folder, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for default in ("heartbeat_interval=10.0", "heartbeat_ttl=60.0", "command_timeout=300.0", "max_queue_depth=100",
                    "respawn_limit=5", "respawn_window=300.0", "log_level='INFO'"):  # fmt: skip
        assert default in values


def test_P15_watchdogs_elect_one_and_hosts_share_a_queue(crew: Crew) -> None:
    crew.worker("--handlers", "mine", "--host", "far", "--name", "far")
    dogs = [crew.begin("watchdog", "--check-interval", "0.3") for _ in range(2)]

    def leaders() -> list[str]:
        events = crew.ask("events", "--queue", "--kind", "leader_changed")["events"]
        return [event["worker"] for event in events]

    wait_until(leaders, PATIENCE, 0.1)
    job = crew.submit("any", "slow", "--payload", '{"seconds": 2}')
    (first,) = begun(crew)
    before = leaders()
    crew.processes[0].send_signal(signal.SIGSTOP)  # another host, gone silent: only its lease tells
    crew.worker("--handlers", "mine", "--host", "near", "--name", "near")
    assert begun(crew, 2)[1] != first
    assert crew.result(job)["result"]["host"] == "near"
    for dog in dogs:
        kill(dog.pid)
    crew.begin("watchdog", "--check-interval", "0.3")
    wait_until(lambda: len(leaders()) > len(before) or leaders()[-1] not in before, PATIENCE, 0.1)
    events = crew.ask("events", "--queue", "--kind", "leader_changed")["events"]
    epochs = [event["detail"]["epoch"] for event in events]
    assert epochs == sorted(set(epochs))  # each leader has a higher number than the last: the fence
    assert {one["host"] for one in crew.ask("hosts")["hosts"]} >= {"far", "near"}


def test_P15_sentinels_name_the_queue(place: Place, redis: RedisServer, tmp_path: Path) -> None:
    redis.forget()
    with sentinels(redis, tmp_path) as ports:
        crew = Crew(place, f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/queue/0")
        try:
            crew.worker()
            assert crew.result(crew.submit("any", "ping"))["result"]["output"]["pong"] is True
        finally:
            crew.close()
