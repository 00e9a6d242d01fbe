"""Events and logs from a real supervisor: which are told, and how following them goes on and ends."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from paneview.config import paths
from tests.cli.support import COMMAND, ask, run, supervise
from tests.harness import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


def test_a_kind_or_task_without_events_is_told_what_there_is(live: Path) -> None:
    (nothing,) = ask(live, "events", "--kind", "start")["warnings"]
    assert nothing == "no event is recorded for that time"
    supervise(live)
    ask(live, "start", "db")
    for words in (("--kind", "start"), ("--task", "web")):
        (instead,) = ask(live, "events", *words)["warnings"]
        assert instead.startswith("no such event; recorded are ")
        assert "task_started" in instead
        assert instead.endswith("; of db")


def test_events_of_an_unknown_task(live: Path) -> None:
    supervise(live)
    ask(live, "start", "db")
    file = live / "paneview.toml"
    file.write_text(file.read_text().replace("[tasks.db]", "[tasks.base]").replace('"db"', '"base"'))
    for _ in ("with a supervisor", "without one"):
        for words in (["--kind", "task_ready"], ["-f"]):
            done = run("events", "--task", "dbs", *words, cwd=live)
            assert (done.status, done.out) == (1, "")
            assert done.err.startswith("paneview: Task 'dbs' not found in config")
            assert "did you mean 'db'?" in done.err
        assert ask(live, "events", "--task", "db")["count"] > 1  # not in the file, but recorded
        run("down", cwd=live)


def test_following_events_until_the_supervisor_ends(live: Path) -> None:
    supervise(live)
    ask(live, "start", "db")
    with subprocess.Popen(
        [*COMMAND, "events", "-f", "--json", "--task", "db"], cwd=live, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        kinds = []
        while "task_started" not in kinds:
            kinds.append(json.loads(process.stdout.readline())["event"])
        ask(live, "stop", "db")
        while "task_stopped" not in kinds:
            kinds.append(json.loads(process.stdout.readline())["event"])
        watching = subprocess.Popen([*COMMAND, "watch"], cwd=live, text=True, stdout=-1, stderr=-1)
        assert watching.stdout is not None
        watching.stdout.readline()
        ask(live, "down")
        process.communicate(timeout=20)
        assert process.returncode == 0
        assert "the supervisor has ended" in watching.communicate(timeout=20)[1]  # else it seems to go on


def test_following_events_ends_when_nobody_reads_those_of_the_queue(live: Path) -> None:
    (live / "paneview.toml").write_text('name = "demo"\n[queue]\n')
    supervise(live)
    with subprocess.Popen(
        [*COMMAND, "events", "-f"], cwd=live, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        ask(live, "dispatch", "any", "ping")
        while "job_submitted" not in process.stdout.readline():
            pass
        process.stdout.close()
        ask(live, "dispatch", "any", "ping")
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_events_of_a_task_with_replicas(live: Path) -> None:
    file = live / "paneview.toml"
    file.write_text(file.read_text().replace("[tasks.job]", "[tasks.job]\nreplicas = 2"))
    supervise(live)
    command = [*COMMAND, "events", "-f", "--json", "--task", "job"]
    with subprocess.Popen(command, cwd=live, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ask(live, "start", "job", "--no-deps")
        heard = set()
        while heard != {"job.1", "job.2"}:
            heard.add(json.loads(process.stdout.readline())["task"])
        process.terminate()
    for _ in ("with a supervisor", "without one"):
        assert {event["task"] for event in ask(live, "events", "--task", "job")["events"]} == heard
        run("down", cwd=live)


def test_a_long_past_is_told_whole_with_and_without_a_supervisor(live: Path) -> None:
    supervise(live)
    ask(live, "start", "db")
    run("down", cwd=live)
    folder = paths.find_project_dir(live / "paneview.toml")
    assert folder
    with closing(sqlite3.connect(paths.state_db(folder), timeout=20)) as store, store:
        store.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)"
            " INSERT INTO event (id, ts, kind, task, detail) SELECT 1000 + i, unixepoch(), 'health', 'db', '{}' FROM n"
        )
    for how in "without", "with":
        if how == "with":
            supervise(live)
        assert ask(live, "events", "--since", "1h", "--kind", "health")["count"] == 12_000
        assert ask(live, "events", "--kind", "health")["count"] == 100


def test_following_tells_the_times_that_the_supervisor_knows(live: Path) -> None:
    burst = "echo ready; until [ -e go ]; do sleep 0.1; done; printf 'one\\ntwo\\nthree\\n'; "
    burst += "while sleep 0.2; do echo more; done"  # hints that never pause hold up no line
    (live / "paneview.toml").write_text(f"[tasks.burst]\ncommand = {json.dumps(burst)}\n")
    supervise(live)
    ask(live, "start")
    following = subprocess.Popen(
        [*COMMAND, "logs", "burst", "-f", "--json"], cwd=live, stdout=subprocess.PIPE, text=True
    )
    assert following.stdout
    try:
        assert "ready" in following.stdout.readline()
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() > begin + 0.12)  # less than until the next look
        (live / "go").touch()
        lines = [json.loads(following.stdout.readline()) for _ in range(3)]
    finally:
        following.terminate()
        following.communicate()
    assert [(line["text"], line["approx"]) for line in lines] == [
        ("one", False),
        ("two", False),
        ("three", False),
    ]


@pytest.mark.parametrize("line", ["start talk -m", "watch", "logs -f", "events -f"])
def test_what_follows_ends_on_ctrl_c_and_leaves_the_tasks(live: Path, line: str) -> None:
    (live / "paneview.toml").write_text(
        'name = "demo"\n[tasks.talk]\ncommand = "echo hello; exec sleep 1000"\n'
    )
    supervise(live)
    ask(live, "start")
    with subprocess.Popen(
        [*COMMAND, *line.split()], cwd=live, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")
    assert ask(live, "status")["active_tasks"] == 1


def test_logs_follow_through_a_restart(live: Path) -> None:
    (live / "paneview.toml").write_text(
        'name = "demo"\n[tasks.talk]\ncommand = "echo hello; exec sleep 1000"\n'
    )
    supervise(live)
    ask(live, "start")
    with subprocess.Popen(
        [*COMMAND, "logs", "talk", "-f", "--json"], cwd=live, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        ask(live, "restart", "talk")
        second = json.loads(process.stdout.readline())
        assert (first["text"], second["text"]) == ("hello", "hello")
        assert (second["n"], second["run"]) == (1, first["run"] + 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
