"""A task's port is cleared before it starts, unless what holds it is not ours to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from paneview.control.errors import ControlError
from tests.harness import alive, can_connect, free_port, free_ports, wait_until

# It listens on the port until it is ended.
LISTEN = "import socket, time; s = socket.create_server(('127.0.0.1', {})); time.sleep(600)"
SHARE = """import os, socket, time
s = socket.create_server(('127.0.0.1', {}))
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(600)"""
# Python forgets what a fork's child hears before its own first step: so it hears it after that.
HYDRA = """import os, signal, socket, time
def again(*_):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if os.fork(): os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
signal.signal(signal.SIGTERM, again)
s = socket.create_server(('127.0.0.1', {}))
while True: time.sleep(600)"""


@contextmanager
def running(code, port, program=sys.executable):
    """A Python program of somebody else, in a session of its own, that listens on the port."""
    with subprocess.Popen(
        [program, "-c", code.format(port)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: can_connect(port))
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_port_is_cleared_of_our_own_stray_and_of_all_that_share_its_socket_and_that_is_told(project):
    port, shared = free_ports(2)
    with running(LISTEN, port) as stray, running(SHARE, shared) as parent:
        child = int(parent.stdout.readline())
        p = project(f"""
            [tasks.web]
            command = '''exec {sys.executable} -c "{LISTEN.format(port)}"'''
            port = {port}
            [tasks.shared]
            command = '''exec {sys.executable} -c "{LISTEN.format(shared)}"'''
            port = {shared}
            health_tcp = {shared}
            restart_policy = "no"
            """).serve()
        p.wait("web", "running")
        wait_until(lambda: can_connect(port))
        assert stray.wait(20) != 0
        assert p.events("port_cleared", "web")[0]["detail"]["pid"] == stray.pid

        p.wait("shared", lambda t: t["healthy"])
        assert parent.wait(20) == -signal.SIGTERM
        assert not alive(child)
        cleared = {event["detail"]["pid"] for event in p.events("port_cleared", "shared")}
        assert cleared == {parent.pid, child}


def test_a_port_held_by_another_managed_task_or_by_a_client_is_left_alone(project):
    port = free_port()
    p = project(f"""
        [tasks.holder]
        command = '''exec {sys.executable} -c "{LISTEN.format(port)}"'''
        health_tcp = {port}
        [tasks.web]
        command = "exec sleep 600"
        port = {port}
        depends_on = ["holder"]
        """).serve()
    web = p.wait("web", "failed")
    assert "a managed task of this project" in web["reason"]
    holder = p.task("holder")
    assert (holder["state"], holder["restarts"]) == ("running", 0)
    with socket.create_connection(("127.0.0.1", port)), pytest.raises(ControlError, match="managed task"):
        p.call("start", tasks=["web"])
    assert alive(holder["pid"])


def test_a_port_taken_again_and_again_or_held_by_another_s_supervisor_or_a_service_manager_is_left_alone(
    project, sandbox
):
    again, theirs, managed = free_ports(3)
    other = project(f"[websocket]\nport = {theirs}\n[tasks]\n", "other").serve()
    wait_until(lambda: can_connect(theirs))
    manager = sandbox.root / "systemd-like"
    manager.symlink_to(os.path.realpath(sys.executable))  # a process is named after its program's file
    with running(HYDRA, again), running(LISTEN, managed, manager) as service:
        p = project(f"""
            [tasks.again]
            command = "exec sleep 600"
            port = {again}
            [tasks.theirs]
            command = "exec sleep 600"
            port = {theirs}
            [tasks.managed]
            command = "exec sleep 600"
            port = {managed}
            """).serve()
        assert f"port {again} is taken again" in p.wait("again", "failed")["reason"]
        assert "the supervisor of the project 'other'" in p.wait("theirs", "failed")["reason"]
        assert "a service manager, which is left alone" in p.wait("managed", "failed")["reason"]
        assert {event["task"] for event in p.events("port_cleared")} <= {"again"}
        assert other.call("hello")["pid"] == other.process.pid
        assert service.poll() is None
