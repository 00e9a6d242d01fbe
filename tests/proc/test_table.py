from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from paneview.proc import MARKER, ProcessId, ProcessTable, marker, portable
from paneview.proc import table as table_module
from paneview.proc.linux import LinuxBackend
from paneview.proc.row import Backend
from tests.harness import Sandbox, alive, wait_until
from tests.proc.conftest import Run, identity, pid_from

# The ways in which a child may leave: each writes its own id to $OUT, then sleeps.
STAYS = "sh -c 'echo $$ > $OUT; exec sleep 60' & wait"
LEAVES_TREE = "(sh -c 'echo $$ > $OUT; exec sleep 60' &); sleep 60"
LEAVES_TREE_AND_SESSION = "(setsid sh -c 'echo $$ > $OUT; exec sleep 60' &); sleep 60"
CLEARS_ENVIRONMENT = "(OUT=$OUT setsid env -i /bin/sh -c 'echo $$ > '$OUT'; exec sleep 60' &); sleep 60"


def pids(found: set[ProcessId]) -> set[int]:
    return {process.pid for process in found}


def test_tree_is_found_in_one_pass(run: Run, source: Backend, tmp_path: Path) -> None:
    process = run(STAYS, OUT=str(tmp_path / "pid"))
    child = pid_from(tmp_path / "pid")
    table = ProcessTable.read(source)
    assert {process.pid, child} == {row.pid for row in table.tree(process.pid)}
    assert {process.pid, child} == {row.pid for row in table.session(process.pid)}


@pytest.mark.parametrize("script", [STAYS, LEAVES_TREE, LEAVES_TREE_AND_SESSION])
def test_members_are_found_wherever_they_went(run: Run, source: Backend, tmp_path: Path, script: str) -> None:
    mark = marker("abc", 7)
    process = run(script, OUT=str(tmp_path / "pid"), **{MARKER: mark})
    child = pid_from(tmp_path / "pid")
    found = ProcessTable.read(source).members(identity(process, source), mark, process.pid)
    assert {process.pid, child} <= pids(found)
    assert os.getpid() not in pids(found)


def test_members_outlive_their_root(run: Run, source: Backend, tmp_path: Path, key: str) -> None:
    process = run(LEAVES_TREE_AND_SESSION, OUT=str(tmp_path / "pid"), **{MARKER: key})
    root, child = identity(process, source), pid_from(tmp_path / "pid")
    process.kill()
    process.wait()
    found = ProcessTable.read(source).members(root, key, process.pid)
    assert child in pids(found)


def test_who_cleared_the_environment_is_found_if_seen_before(
    run: Run, source: Backend, tmp_path: Path, key: str
) -> None:
    process = run(CLEARS_ENVIRONMENT, OUT=str(tmp_path / "pid"), **{MARKER: key})
    child = pid_from(tmp_path / "pid")
    row = source.read(child)
    assert row
    seen = ProcessId(child, row.start)
    root = identity(process, source)
    assert child not in pids(ProcessTable.read(source).members(root, key, process.pid))
    assert child in pids(ProcessTable.read(source).members(root, key, process.pid, [seen]))
    reused = ProcessId(child, row.start - 5)
    assert child not in pids(ProcessTable.read(source).members(root, key, process.pid, [reused]))
    os.kill(child, signal.SIGKILL)  # no marker of the sandbox either
    wait_until(lambda: not alive(child))


def test_a_number_used_again_is_not_the_root(run: Run, source: Backend) -> None:
    process = run("exec sleep 60")
    this = identity(process, source)
    assert pids(ProcessTable.read(source).members(this, "", None)) == {process.pid}
    old = ProcessId(this.pid, this.start - 1)
    assert ProcessTable.read(source).members(old, "", process.pid) == set()


def test_markers_are_told_apart(run: Run, source: Backend, key: str) -> None:
    first = run("exec sleep 60", **{MARKER: key})
    second = run("exec sleep 60", **{MARKER: f"{key}2"})
    wait_until(lambda: {key, f"{key}2"} <= ProcessTable.read(source).marked(key[:-1]).keys())
    table = ProcessTable.read(source)
    assert pids(table.members(None, key)) == {first.pid}
    assert pids(table.marked(key[:-1])[f"{key}2"]) == {second.pid}
    assert table.marked("nobodys-") == {}


def test_the_caller_and_its_parents_are_never_members(source: Backend) -> None:
    table = ProcessTable.read(source)
    for pid in (os.getpid(), os.getppid()):
        row = table.rows[pid]
        this = ProcessId(pid, row.start)
        assert not {os.getpid(), os.getppid(), 1} & pids(table.members(this, "", row.session, [this]))


def test_a_tmux_server_is_never_a_member(
    sandbox: Sandbox, tmux_socket: str, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(MARKER, key)
    sandbox.tmux("new-session", "-d", "sleep 60")
    pid = sandbox.tmux_server_pid()
    assert pid
    found = pids(wait_until(lambda: ProcessTable.read().members(None, key)))
    assert pid not in found
    table = ProcessTable.read()
    assert table.members(ProcessId(pid, table.rows[pid].start), "") == set()


def test_what_a_tmux_server_is_just_making_is_a_member(run: Run, tmp_path: Path, key: str) -> None:
    """Its name is still the server's: whoever left it out would take a run for ended that has yet to begin."""
    script = (
        "import os, sys, time\n"
        "open('/proc/self/comm', 'w').write('tmux: server')\n"
        "pid = os.fork()\n"
        "new, child = sys.argv[1] + '/new', sys.argv[1] + '/child'\n"
        "if pid: open(new, 'w').write(str(pid)); os.rename(new, child)\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "maker.py").write_text(script)
    server = run(f"exec {sys.executable} {tmp_path}/maker.py {tmp_path}", **{MARKER: key})
    wait_until((tmp_path / "child").exists)
    pid = int((tmp_path / "child").read_text())
    table = ProcessTable.read()
    child = ProcessId(pid, table.rows[pid].start)
    assert table.rows[pid].name == "tmux: server"
    assert table.members(child, "") == {child}
    assert table.members(identity(server), "") == set()


def test_zombies_are_no_members(run: Run, source: Backend, key: str) -> None:
    process = run("exec sleep 60", **{MARKER: key})
    wait_until(lambda: ProcessTable.read(source).marked(key))
    process.kill()
    wait_until(lambda: not alive(process.pid))
    table = ProcessTable.read(source)
    assert table.members(ProcessId(process.pid, table.rows[process.pid].start), key, process.pid) == set()


def test_names_may_hold_anything(source: Backend, sandbox: Sandbox) -> None:
    path = sandbox.root / "a) R 1 (b c"
    path.symlink_to("/bin/sleep")
    with subprocess.Popen([str(path), "60"]) as process:
        row = wait_until(lambda: (r := source.read(process.pid)) and r.name.startswith("a)") and r)
        assert row.ppid == os.getpid()
        process.kill()


def test_processes_that_come_and_go_meanwhile(source: Backend) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            subprocess.run(["/bin/true"], check=True)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            table = ProcessTable.read(source)
            assert os.getpid() in table.rows
            table.marked("none-")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Unreadable:
    """A back end to whom every environment is another user's."""

    def __init__(self, source: Backend) -> None:
        self._source = source
        self.pids, self.read = source.pids, source.read
        self.boot_id, self.started_at, self.forks = source.boot_id, source.started_at, source.forks

    def environment(self, _pid: int) -> bytes | None:
        return None


def test_environments_of_others_are_skipped(run: Run, source: Backend, key: str) -> None:
    process = run("exec sleep 60", **{MARKER: key})
    table = ProcessTable.read(Unreadable(source))
    assert pids(table.members(identity(process, source), key)) == {process.pid}


FORKS = f"""
import os, sys, time
if os.fork() == 0:
    while not os.path.exists(sys.argv[1] + "/go"): time.sleep(0.01)
    os.execve("/bin/sleep", ["sleep", "60"], {{**os.environ, "{MARKER}": sys.argv[2]}})
open(sys.argv[1] + "/forked", "w").close()
os.wait()
"""


def forking(run: Run, tmp_path: Path, late: str, **env: str) -> subprocess.Popen[bytes]:
    """A process and its child that, once the file `go` is there, makes its exec with the marker `late`."""
    (tmp_path / "forks.py").write_text(FORKS)
    process = run(f"exec {sys.executable} {tmp_path}/forks.py {tmp_path} {late}", **env)
    wait_until((tmp_path / "forked").exists)
    return process


def test_marker_of_a_process_that_has_not_made_its_exec_is_read_again(
    run: Run, source: Backend, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process seen between fork and exec has its parent's environment: that must not be remembered."""
    monkeypatch.setattr(portable, "_YOUNG", 60.0)  # on a busy machine a look takes long
    parent = identity(forking(run, tmp_path, key), source)
    child = wait_until(lambda: ProcessTable.read(source).members(parent, "") - {parent}).pop()
    assert ProcessTable.read(source).marked(key) == {}
    (tmp_path / "go").touch()
    wait_until(lambda: ProcessTable.read(source).marked(key).get(key) == {child})


def test_marker_of_a_parent_is_not_remembered_of_its_child(
    run: Run, source: Backend, tmp_path: Path, key: str
) -> None:
    """A worker's agent is seen with the worker's marker for an instant: it must not be ended with the worker."""
    parent = identity(forking(run, tmp_path, "agent-2", **{MARKER: key}), source)
    child = wait_until(lambda: ProcessTable.read(source).members(parent, key) - {parent}).pop()
    (tmp_path / "go").touch()
    wait_until(lambda: child not in ProcessTable.read(source).members(parent, key))


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems do not tell a process's exec from its fork"
)
def test_a_young_process_without_a_marker_is_read_once(run: Run) -> None:
    """A project's tasks come with as many writers of logs: to read these at every look would be half its cost."""
    this = identity(run("exec sleep 60"))
    wait_until(lambda: (row := ProcessTable.read().get(this)) and row.name == "sleep")
    read: list[int] = []

    class Source(LinuxBackend):
        def environment(self, pid: int) -> bytes | None:
            read.append(pid)
            return super().environment(pid)

    source = Source()
    for _ in range(3):
        ProcessTable.read(source).marked()
    assert read.count(this.pid) == 1


@pytest.mark.parametrize(("age", "shared"), [(60.0, True), (0.0, False)])
def test_callers_of_the_same_instant_share_a_look(
    monkeypatch: pytest.MonkeyPatch, age: float, shared: bool
) -> None:
    monkeypatch.setattr(table_module, "RECENT", age)
    first = ProcessTable.read()
    assert (ProcessTable.recent() is first) is shared


def test_an_agents_run_is_nobody_elses(run: Run, source: Backend, tmp_path: Path, key: str) -> None:
    script = "PANEVIEW_RUN=agent-1 setsid sh -c 'echo $$ > $OUT; exec sleep 60' & wait"
    process = run(script, OUT=str(tmp_path / "pid"), **{MARKER: key})
    agent = pid_from(tmp_path / "pid")
    root, seen = identity(process, source), ProcessId(agent, source.read(agent).start)  # type: ignore[union-attr]

    def marked() -> bool:
        return seen in ProcessTable.read(source).marked("agent-1").get("agent-1", ())

    wait_until(marked)
    table = ProcessTable.read(source)
    assert agent not in pids(table.members(root, key, process.pid, [seen]))
    assert process.pid in pids(table.members(root, key, process.pid, [seen]))
    assert pids(table.members(None, "agent-1")) == {agent}


def later() -> ProcessTable:
    """A look that begins with the one before."""
    before = ProcessTable.read()
    found = ProcessTable._look()
    assert found is not before
    return found


def test_a_look_after_another_sees_who_came_and_who_went(run: Run, tmp_path: Path, key: str) -> None:
    first = run(STAYS, OUT=str(tmp_path / "one"), **{MARKER: key})
    child = pid_from(tmp_path / "one")
    ProcessTable.read()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not alive(child))
    second = run(LEAVES_TREE_AND_SESSION, OUT=str(tmp_path / "two"), **{MARKER: key})
    stray = pid_from(tmp_path / "two")
    found = pids(ProcessTable._look().members(identity(second), key, second.pid))
    assert stray in found
    assert child not in found
    assert first.pid in found or not alive(first.pid)


def test_who_has_died_since_the_earlier_look_is_not_told(run: Run, key: str) -> None:
    process = run("exec sleep 60", **{MARKER: key})
    this = identity(process)
    wait_until(lambda: ProcessTable.read().marked(key))
    table = ProcessTable._look()
    process.kill()
    wait_until(lambda: not alive(process.pid))  # a zombie: its number is still there
    assert table.marked(key) == {}
    assert table.get(this) is None
    assert table.members(this, key, process.pid) == set()
    assert ProcessTable._look().session(process.pid) == []


def test_what_has_become_a_tmux_server_since_is_left_alone(run: Run, tmp_path: Path, key: str) -> None:
    """Its name changes long after its first look: whoever kills by an old row would end the user's own sessions."""
    script = (
        "import sys, time, os\n"
        "open(sys.argv[1] + '/up', 'w').close()\n"
        "while not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.01)\n"
        "open('/proc/self/comm', 'w').write('tmux: server')\n"
        "open(sys.argv[1] + '/named', 'w').close()\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "named.py").write_text(script)
    process = run(f"exec {sys.executable} {tmp_path}/named.py {tmp_path}", **{MARKER: key})
    wait_until((tmp_path / "up").exists)
    this = identity(process)
    assert pids(later().members(this, key, process.pid)) == {process.pid}
    (tmp_path / "go").touch()
    wait_until((tmp_path / "named").exists)
    assert ProcessTable._look().members(this, key, process.pid) == set()


@pytest.mark.parametrize(("limit", "value"), [("FORKS", 0), ("FULL_EVERY", 0.0)])
def test_all_are_read_again_before_a_number_can_have_been_given_out_twice(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    before = ProcessTable.read().base
    assert ProcessTable._look().base is before
    monkeypatch.setattr(table_module, limit, value)
    assert ProcessTable._look().base is not before


def test_a_system_that_does_not_count_forks_is_read_whole_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(table_module.backend), "forks", lambda _self: None)
    before = ProcessTable.read().base
    assert ProcessTable._look().base is not before
