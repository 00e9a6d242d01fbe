from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paneview.proc import ProcessTable, identify, interrupt, send
from paneview.tmux import guard
from paneview.tmux.guard import ExitStatus, guard_argv, read_exit_file
from paneview.tmux.spawn import PaneInfo
from tests.harness import eventually
from tests.tmux.conftest import Bench

SHELLS = [path for name in ("dash", "bash", "busybox") if (path := shutil.which(name))]
# Says when it is interrupted, and takes its time to end. A signal that comes just before Python goes to sleep is heard
# when it wakes up: hence the short sleeps. One that comes while Python prints must not print itself: hence `os.write`.
GRACEFUL = """
import os, signal, sys, time
def end(number, frame):
    os.write(1, b"closing\\n")
    time.sleep(0.2)
    os.write(1, b"closed\\n")
    sys.exit(7)
signal.signal(int(sys.argv[1]), end)
os.write(1, b"ready\\n")
for _ in range(600):
    time.sleep(0.1)
"""


def as_sh(shell: str) -> list[str]:
    return [shell, "sh"] if shell.endswith("busybox") else [shell]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("true", 0),
        ("exit 3", 3),
        ("kill -9 $$", 137),
        ("kill -9 ${$}", 137),
        ('test -n "$PATH" && exit $(echo 4)', 4),
        ("trap 'exit 5' TERM; kill -TERM $$; exit 6", 5),
        ("false; true", 0),
        ("no-such-program", 127),
        ("((", 2),
    ],
)
def test_codes(shell: str, command: str, code: int, tmp_path: Path) -> None:
    out = tmp_path / "a 'b"
    argv = [*as_sh(shell), *guard_argv(command, out)[1:]]
    done = subprocess.run(argv, check=False, stderr=subprocess.DEVNULL, start_new_session=True)
    assert done.returncode == code
    assert out.read_text() == f"{code}\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_is_data(shell: str, tmp_path: Path) -> None:
    command = "printf '%s' \"$0 $# a'b\" '$x' \\\\"
    argv = [*as_sh(shell), *guard_argv(command, tmp_path / "code")[1:]]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE)
    assert done.stdout.endswith(b" a'b$x\\")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_inherits_no_trap(shell: str, tmp_path: Path) -> None:
    """Neither ignored signals nor extra descriptors."""
    code = "import os, signal; print([signal.getsignal(n) for n in (1, 3, 15)], len(os.listdir('/proc/self/fd')))"
    argv = [*as_sh(shell), *guard_argv(f'exec {sys.executable} -c "{code}"', tmp_path / "code")[1:]]
    plain = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    done = subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.stdout == plain.stdout


def test_statuses() -> None:
    assert ExitStatus.of_code(0) == ExitStatus(0, None)
    assert ExitStatus.of_code(130) == ExitStatus(130, signal.SIGINT)
    assert ExitStatus.of_code(255) == ExitStatus(255, None)
    assert ExitStatus.of_code(128) == ExitStatus(128, None)
    assert ExitStatus.of_signal(9) == ExitStatus(137, 9)


@pytest.mark.parametrize("text", ["", "1", "x\n", "\n", "-1\n", "\0\0\n"])
def test_half_written_files_say_nothing(text: str, tmp_path: Path) -> None:
    assert read_exit_file(tmp_path / "none") is None
    (tmp_path / "code").write_text(text)
    assert read_exit_file(tmp_path / "code") is None


@pytest.fixture(params=[shell for shell in SHELLS if "busybox" not in shell])
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both of the guard's shells, and the one it runs the command with, are this one."""
    monkeypatch.setattr(guard, "SHELL", request.param)
    return str(request.param)


def identified(pane: PaneInfo):
    found = identify(pane.pid)
    assert found
    return found


async def test_ctrl_c_ends_a_simple_command(shell: str, bench: Bench) -> None:
    pane = await bench.spawn("sleep 1000")
    await eventually(lambda: "sleep" in {row.name for row in ProcessTable.read().tree(pane.pid)})
    await bench.session.send_keys(pane.pane_id, "C-c")
    assert await bench.ended(pane) == ExitStatus(130, 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_graceful_end_is_not_cut_short(shell: str, bench: Bench, number: int) -> None:
    """The shell in between gets the signal as well; the terminal must not hang up before the program is done."""
    (bench.folder / "graceful.py").write_text(GRACEFUL)
    program = f"{sys.executable} -IS {bench.folder}/graceful.py {number:d}"
    commands = [
        form.format(program) for form in ("exec {}", "{}", "cd /; {}; echo not reached", "true && {}")
    ]
    panes = [await bench.spawn(command) for command in commands]
    for run, pane in enumerate(panes, start=1):
        await bench.logged(run, "ready")
        if number == signal.SIGINT:
            assert interrupt(identified(pane))
        else:
            send(number, ProcessTable.read().members(identified(pane), "", pane.pid))
    for run, (command, pane) in enumerate(zip(commands, panes, strict=True), start=1):
        status = await bench.ended(pane)
        log = await bench.logged(run, "closed")
        assert "not reached" not in log, command
        assert status.code in (7, 128 + number), command


async def test_python_reads_and_can_be_interrupted(shell: str, bench: Bench) -> None:
    pane = await bench.spawn(f"{sys.executable} -q", env={"PYTHON_BASIC_REPL": "1", "TERM": "dumb"})
    await bench.logged(1, ">>>")
    await bench.session.send_keys(pane.pane_id, "print(6 * 7)", "Enter")
    # Readline waits: an interrupt just before is seen with the next key only.
    await bench.logged(1, "\n42\n>>>")
    await bench.session.send_keys(pane.pane_id, "C-c")
    await bench.logged(1, "KeyboardInterrupt")
    # Not by `exit`: from 3.14 on, Python then ends as if by the interrupt that it has survived.
    await bench.session.send_keys(pane.pane_id, "import os; os._exit(5)", "Enter")
    assert await bench.ended(pane) == ExitStatus(5)


async def test_an_interactive_shell_has_job_control(shell: str, bench: Bench) -> None:
    pane = await bench.spawn("bash --norc --noprofile -i")
    await eventually(lambda: bench.log(1))  # its prompt, whatever that is
    await bench.session.send_keys(pane.pane_id, "sleep 1000", "Enter")
    shell_pid = identified(pane).pid

    def foreground() -> bool:
        table = ProcessTable.read()
        sleeping = [row for row in table.session(shell_pid) if row.name == "sleep"]
        return bool(sleeping) and table.rows[shell_pid].foreground == sleeping[0].group

    await eventually(foreground)
    await bench.session.send_keys(pane.pane_id, "C-z")
    await bench.logged(1, "Stopped")
    await bench.session.send_keys(pane.pane_id, "fg", "Enter")
    await eventually(foreground)
    await bench.session.send_keys(pane.pane_id, "C-c")
    await bench.session.send_keys(pane.pane_id, "echo $((40+2)); exit 4", "Enter")
    await bench.logged(1, "42\n")
    assert await bench.ended(pane) == ExitStatus(4)


async def test_the_hang_up_reaches_the_task_and_the_code_is_kept(shell: str, bench: Bench) -> None:
    """A window that the user closes ends what runs in it; the guard still tells how."""
    pane = await bench.spawn("trap 'exit 9' HUP; echo ready; while :; do sleep 0.05; done")
    await bench.logged(1, "ready")
    await bench.session.remove_pane(pane.pane_id)
    assert await bench.ended(pane) == ExitStatus(9)


async def test_what_the_guards_shell_says_stays_out_of_the_log(shell: str, bench: Bench) -> None:
    pane = await bench.spawn("echo to stdout; echo to stderr >&2; exec sleep 1000")
    await bench.logged(1, "stderr")
    sleeper = await eventually(
        lambda: next((row for row in ProcessTable.read().tree(pane.pid) if row.name == "sleep"), None)
    )
    os.kill(sleeper.pid, signal.SIGKILL)
    assert await bench.ended(pane) == ExitStatus(137, 9)
    assert bench.log(1) == "to stdout\nto stderr\n"
