"""Probes of running tasks: what they look at, what follows when they fail, and what they go on knowing."""

from __future__ import annotations

import sys

import pytest
from msgspec.structs import replace

from paneview.store.database import StoreError
from paneview.store.reader import LogReader
from paneview.supervisor.runs import probing
from tests.harness import Sandbox, eventually, free_port, wait_until
from tests.supervisor.inprocess import fails_once, supervising


def test_health_failing_restarts_with_the_reason_and_a_dependent_is_told_when_it_takes_too_long(project):
    p = project("""
        [tasks.t]
        command = "touch ok; exec sleep 600"
        health_check = "test -f ok || { echo file is gone; exit 1; }"
        health_interval = 0.1
        health_retries = 2
        restart_backoff = 0
        [tasks.slow]
        command = "exec sleep 600"
        health_check = "false"
        ready_timeout = 0.3
        restart_policy = "no"
        [tasks.dependent]
        command = "exec sleep 600"
        depends_on = ["slow"]
        """).serve()
    first = p.wait("t", lambda t: t["health"] == "healthy")
    (p.folder / "ok").unlink()
    p.wait("t", lambda t: t["run"] != first["run"] and t["health"] == "healthy")
    assert len(p.events("health_check_failed", "t")) >= 2
    assert "file is gone" in p.events("task_unhealthy", "t")[0]["cause"]
    probe = p.call("inspect", task="t")["probe"]
    assert probe["ok"]
    assert probe["duration"] > 0

    told = wait_until(lambda: p.events("dependency_timeout", "dependent"))
    assert "slow is not ready" in told[0]["cause"]
    assert p.task("dependent")["state"] == "waiting"
    assert "slow is not ready (exit code 1)" in p.task("dependent")["reason"]


def test_tcp_url_and_log_probes(project):
    tcp, http = free_port(), free_port()
    listen = f"import socket; s = socket.create_server(('127.0.0.1', {tcp})); s.accept()[0]; input()"
    p = project(f"""
        [tasks.tcp]
        command = '''exec {sys.executable} -c "{listen}; __import__('time').sleep(600)"'''
        health_tcp = {tcp}
        [tasks.url]
        command = "exec {sys.executable} -m http.server {http} --bind 127.0.0.1"
        health_url = "http://localhost:{http}/"
        [tasks.log]
        command = "echo booting; sleep 0.2; echo ready to serve; exec sleep 600"
        health_log = "ready to \\\\w+"
        [tasks.far]
        command = "seq 1 60000; echo server is ready; exec sleep 600"
        health_log = "server is ready"
        health_interval = 3600
        [tasks.late]
        command = "exec sleep 600"
        depends_on = ["url", "log"]
        """).serve()
    p.wait("late", "running")
    assert p.task("log")["health"] == "healthy"
    assert p.task("url")["health"] == "healthy"
    p.wait("tcp", lambda t: t["health"] == "healthy" or t["restarts_total"])
    p.wait("far", lambda t: t["health"] == "healthy")  # a line far into the output is found


@pytest.mark.parametrize(
    "fault",
    [
        StoreError("they had moved on"),
        OSError("too many open files"),
        RuntimeError("can't start new thread"),
    ],
)
async def test_a_log_that_cannot_be_read_for_once_is_looked_at_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(LogReader, "runs", fails_once(LogReader.runs, fault))
    monkeypatch.setattr(probing, "AGAIN", 0.1)
    text = """
        [tasks.t]
        command = "echo now ready; exec sleep 617"
        health_log = "now ready"
        health_interval = 0.1
        """
    async with supervising(sandbox, text) as host:
        unit = host.supervisor.unit("t")
        await eventually(lambda: unit.state.ready)
        await host.journal.durable()
        assert not await host.store.events(kinds=["internal_error", "health_check_failed"])


async def test_a_probe_that_a_change_of_the_definition_ends_does_not_end_the_next_one_too(
    sandbox: Sandbox,
) -> None:
    text = """
        [tasks.t]
        command = "exec sleep 617"
        health_check = "echo >>asked; sleep 0.1"
        health_interval = 0.05
        health_retries = 1
        """
    asked = sandbox.root / "asked"

    async def is_asked() -> None:
        before = asked.stat().st_size
        await eventually(lambda: asked.stat().st_size > before)

    async with supervising(sandbox, text) as host:
        unit = host.supervisor.unit("t")
        await eventually(lambda: unit.state.ready)
        for grace in (1.0, 2.0, 3.0):
            await is_asked()
            unit.redefine(replace(unit.task, stop_grace_period=grace))
        await is_asked()
        await is_asked()
        await host.journal.durable()
        assert not await host.store.events(kinds=["health_check_failed"])


def test_a_task_whose_line_has_been_found_stays_healthy_through_reloads_and_takeovers(project):
    text = """
        [tasks.t]
        command = "echo now ready; n=0; while :; do n=$((n+1)); echo request $n; sleep 0.02; done"
        health_log = "now ready"
        health_interval = 0.1
        health_retries = 1
        """
    p = project(text).serve()
    before = p.wait("t", lambda t: t["health"] == "healthy")

    def goes_on() -> None:
        """It goes on for longer than with any failing probe."""
        end = p.task("t")["log_end"]
        after = p.wait("t", lambda t: t["log_end"] > end + 20 or t["run"] != before["run"])
        assert (after["run"], after["health"]) == (before["run"], "healthy")
        assert not p.events("health_check_failed", "t")

    p.call("logs_clean", tasks=["t"])
    wait_until(lambda: "now ready" not in p.lines("t"))
    p.write(text + "# a comment\n[tasks.other]\ncommand = 'true'\n")
    p.call("reload")
    goes_on()
    p.kill_supervisor()
    p.serve()
    goes_on()
    p.write(text.replace('now ready"\n', 'request 9$"\n'))
    p.call("reload")
    goes_on()
    p.call("restart", tasks=["t"])
    p.wait("t", lambda t: t["run"] != before["run"] and t["health"] == "healthy")
    assert p.events("task_ready", "t")[-1]["cause"] == "log: request 9", "the new pattern is for the next run"
