"""Rows C1 to C8: a shared folder as the queue, its files in claude-queue's format, beside its own scripts."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.broker.servers import redis_server
from tests.harness import wait_until
from tests.parity.crew import Crew
from tests.parity.place import PATIENCE, Place

pytestmark = pytest.mark.timeout(120)

Json = dict[str, Any]
HOST = "pi-node-1"
ECHO = ("--command", "cat")
LIBRARY = """\
import sys, time
from paneview import Queue
queue = Queue(sys.argv[1], hostname="pi-1")
for_me = queue.submit("Check the disk", host="pi-1", metadata={"priority": "high"})
other = queue.submit("For another", host="pi-2")
assert [job["id"] for job in queue.pending("pi-1")] == [for_me], queue.pending("pi-1")
assert len(queue.pending()) == 2
assert queue.status(for_me) == "pending"
assert queue.claim(for_me) and not queue.claim(for_me)
assert queue.status(for_me) == "in_progress"
assert queue.result(for_me) is None
assert queue.submit_result(for_me, "80 % free")
result = queue.result(for_me, wait=True, timeout=20)
assert (result["status"], result["output"]) == ("ok", "80 % free"), result
assert queue.status(for_me) == "completed"
began = time.monotonic()
assert queue.result(other, wait=True, timeout=0.3) is None and time.monotonic() - began >= 0.3
time.sleep(0.05)
assert queue.clean(0.00000001) >= 1
print("well")
"""


@pytest.fixture
def shared(place: Place) -> Path:
    return place.sandbox.root / "shared"


@pytest.fixture
def crew(place: Place, shared: Path) -> Iterator[Crew]:
    """Workers on a shared folder."""
    made = Crew(place, f"dir://{shared}?interval=0.2")
    yield made
    made.close()


def their_task(shared: Path, command: str, host: str | None = None) -> str:
    """What claude-queue's submit leaves in the folder; the task's id."""
    task = f"{int(time.time())}_{abs(hash(command)) % 16**8:08x}"
    entry = {
        "id": task, "command": command, "from_host": "control-node", "target_host": host,
        "timestamp": datetime.now().isoformat(), "status": "pending", "metadata": {},  # noqa: DTZ005 - as it does
    }  # fmt: skip
    folder = shared / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"task_{task}.json.tmp"
    draft.write_text(json.dumps(entry, indent=2))
    draft.rename(folder / f"task_{task}.json")
    return task


def read(shared: Path, what: str, task: str) -> Json:
    """A task's or a result's file."""
    found: Json = json.loads((shared / f"{what}s" / f"{what}_{task}.json").read_text())
    return found


def test_C01_a_folder_is_the_queue_in_the_format_of_claude_queue(crew: Crew, shared: Path) -> None:
    crew.ask("jobs")  # makes the folder
    theirs = their_task(shared, "Check system uptime")
    for number in range(2):
        crew.worker(*ECHO, "--host", f"node-{number}")
    many = [crew.ask("submit", f"number {number}")["id"] for number in range(6)]
    wait_until((shared / "results" / f"result_{theirs}.json").exists, PATIENCE)
    result = read(shared, "result", theirs)
    assert {"task_id", "result", "status", "error", "completed_by", "completed_at"} <= result.keys(), result
    assert (result["task_id"], result["result"], result["status"]) == (
        theirs,
        "Check system uptime",
        "completed",
    )
    assert read(shared, "task", theirs)["status"] == "completed"
    for number, job in enumerate(many):
        assert crew.result(job)["result"]["output"] == f"number {number}"
        assert read(shared, "result", job)["result"] == f"number {number}"
    attempts = {job["id"]: job["attempts"] for job in crew.ask("jobs", "--state", "completed")["jobs"]}
    assert [attempts[job] for job in many] == [1] * 6  # claimed by rename: one has it
    assert not list(shared.rglob("*.lock"))


def test_C02_to_a_host_or_any_with_metadata_listed_by_host_with_their_states(
    crew: Crew, shared: Path
) -> None:
    one = crew.ask(
        "submit", "--host", HOST, "--meta", "priority=high", "--meta", "category=maintenance", "Clean", "up"
    )
    other = crew.ask("submit", "--host", "elsewhere", "Wait")
    everybody = crew.ask("submit", "Anybody")
    entry = read(shared, "task", one["id"])
    assert (entry["command"], entry["status"]) == ("Clean up", "pending")
    assert socket.gethostname() in entry["from_host"]
    assert HOST in entry["target_host"]
    assert entry["metadata"] == {"priority": "high", "category": "maintenance"}
    assert [job["id"] for job in crew.ask("jobs", "--host", HOST)["jobs"]] == [one["id"]]
    crew.worker("--command", "sh -c 'until test -e go; do sleep 0.1; done; cat'", "--host", HOST)
    assert crew.until(one["id"], "leased")["status"] == "in_progress"
    wait_until(lambda: read(shared, "task", one["id"])["status"] == "in_progress")
    (crew.folder / "go").touch()
    assert crew.result(everybody["id"])["result"]["host"] == HOST
    assert crew.job(one["id"])["status"] == "completed"
    assert [job["id"] for job in crew.ask("jobs", "--state", "pending")["jobs"]] == [other["id"]]
    failed = crew.submit(f"host:{HOST}", "no-such-kind", "--delay", "1ms")  # else it is refused
    assert crew.until(failed, "dead")["status"] == "failed"


def test_C03_results_are_waited_for_with_a_time_limit(crew: Crew) -> None:
    job = crew.ask("submit", "hello")["id"]
    late = crew.ask("result", job, "--wait", "--timeout", "300ms", status=1)
    assert (late["code"], late["state"]) == ("pending", "queued")
    waiting = crew.begin("result", job, "--wait", "--timeout", "30s")
    crew.begin("worker", *ECHO, "--once")
    assert waiting.wait(PATIENCE) == 0
    assert crew.said(waiting) == "hello\n"
    crew.worker(*ECHO)
    assert crew.run("submit", "--wait", "and", "this").out == "and this\n"


def test_C04_once_or_for_good_with_an_interval_and_a_limit_of_300_s(crew: Crew) -> None:
    jobs = [crew.ask("submit", text)["id"] for text in ("first", "second")]
    assert crew.job(jobs[0])["timeout"] == 300.0
    for left in (1, 0):
        assert crew.begin("worker", *ECHO, "--once").wait(PATIENCE) == 0
        assert len(crew.ask("jobs", "--state", "pending")["jobs"]) == left
    assert crew.begin("worker", *ECHO, "--once").wait(PATIENCE) == 0  # nothing to do is no failure
    worker = crew.worker("--command", "sh -c 'echo at it; sleep 60'", "--interval", "0.5")
    short = crew.submit(
        "any", "prompt", "--payload", '{"text": "x"}', "--timeout", "500ms", "--attempts", "1"
    )
    assert re.search(r"0\.5 s|time", crew.result(short)["error"])
    held = crew.ask("submit", "never done")["id"]
    crew.until(held, "leased")
    wait_until(lambda: crew.said(worker).count("at it") == 2, PATIENCE)  # the short one said so, too
    worker.terminate()
    wait_until(lambda: "under way" in crew.said(worker), PATIENCE)
    worker.terminate()  # asked twice: it hands back what it holds
    assert worker.wait(PATIENCE) == 0
    back = crew.job(held)
    assert (back["state"], back["attempts"]) == ("queued", 0)


def test_C05_who_did_what_is_in_a_log_per_host_and_day_and_in_the_events(crew: Crew, shared: Path) -> None:
    job = crew.ask("submit", "hello")["id"]
    crew.begin("worker", *ECHO, "--once").wait(PATIENCE)
    logs = list((shared / "logs").glob("*.log"))
    assert all(re.fullmatch(rf"{re.escape(socket.gethostname())}_\d{{8}}\.log", log.name) for log in logs)
    log = max(logs)
    assert sum(job in line for line in log.read_text().splitlines()) >= 2
    events = [event for event in crew.ask("events", "--queue")["events"] if event["job"] == job]
    assert [event["event"] for event in events] == ["job_submitted", "job_claimed", "job_done"]


def test_C06_what_is_old_is_forgotten(crew: Crew, shared: Path) -> None:
    done, waits = crew.ask("submit", "old")["id"], ""
    crew.begin("worker", *ECHO, "--once").wait(PATIENCE)
    waits = crew.ask("submit", "new")["id"]
    assert crew.ask("queue", "clean", "--older-than", "7d")["count"] == 0
    wait_until(lambda: crew.ask("queue", "clean", "--older-than", "10ms")["count"] == 1, PATIENCE, 0.05)
    assert not list(shared.rglob(f"*{done}*.json"))
    assert [job["id"] for job in crew.ask("jobs")["jobs"]] == [waits]


@pytest.mark.parametrize("kind", ["sqlite", "redis", "dir"])
def test_C07_the_seven_verbs_from_python_over_every_broker(place: Place, kind: str) -> None:
    def use(url: str) -> None:
        words = [sys.executable, "-c", LIBRARY, url]
        done = subprocess.run(
            words, cwd=place.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr

    if kind == "redis":
        with redis_server() as server:
            use(f"redis://127.0.0.1:{server.port}/0")
    else:
        use(f"{kind}://{place.folder}/queue")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_C08_a_systemd_unit_for_the_worker(crew: Crew) -> None:
    unit = crew.folder / "paneview-worker.service"
    unit.write_text(crew.run("service", "worker", "--role", "r", "--broker", crew.env["PANEVIEW_BROKER"]).out)
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    # What the unit runs takes jobs of that queue.
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)
    assert lines["ExecStart"].split()[-3:] == ["worker", "--role", "r"]
    assert f"PANEVIEW_BROKER={crew.env['PANEVIEW_BROKER']}" in unit.read_text()
