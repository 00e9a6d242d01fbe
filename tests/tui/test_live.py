"""The real program in a real tmux pane, over a real supervisor and real tasks: typed into, and read back."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import termios
import time
from pathlib import Path

import pytest

from tests.cli.support import COMMAND, run, supervise
from tests.harness import Sandbox, alive, wait_until
from tests.tui.pane import BUSY, Pane, supervisors

pytestmark = pytest.mark.timeout(120)


def test_from_nothing_to_a_running_project_and_back_and_ctrl_c_and_ctrl_z_harm_nothing(
    sandbox: Sandbox, folder: Path
) -> None:
    pane = Pane(sandbox, folder, shell=True)
    shown = pane.wait_for("▌ talk", "● running", "said 3", "following")
    assert "○ idle" in shown
    pane.type("G", "s")
    pane.wait_for("hand started")
    assert run("status", "--json", cwd=folder).json["active_tasks"] == 3
    pane.type("K")
    pane.wait_for("Kill hand?", "▌ n No")
    pane.type("y")
    pane.wait_for("hand killed")
    pane.type("?")
    pane.wait_for("Keys", "Kill at once")
    pane.type("Escape")
    pane.wait_for("TASK", "▌ hand")
    pane.type("C-c")
    pane.wait_for("q leaves")
    pane.type("C-z")
    pane.wait_for("Stopped")
    assert pane.flag("alternate_on") == "0"
    pane.type("fg", "Enter")
    pane.wait_for("▌ hand", "● running", "TASK")
    pane.type("q")
    pane.wait_for("Leave demo?")
    pane.type("Enter")
    pane.wait_for("demo goes on: 'paneview' comes back")
    pane.type("echo left with $?", "Enter")
    pane.wait_for("left with 0")
    assert (pane.flag("alternate_on"), pane.flag("cursor_flag"), pane.flag("mouse_any_flag")) == (
        "0",
        "1",
        "0",
    )
    assert run("status", "--json", cwd=folder).json["active_tasks"] == 2


def test_searching_all_that_is_stored_and_logs_merged_by_time(sandbox: Sandbox, folder: Path) -> None:
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("▌ talk")
    pane.type("j")
    pane.wait_for("▌ big", "\n20000", "20,000 lines")
    pane.type("Tab", "g")
    pane.wait_for("\n2\n", "paused")
    pane.type("/", "12345", "Enter")
    pane.wait_for("\n12345", "1 of 1, from the newest again")
    pane.type("G")
    pane.wait_for("\n20000", "following")
    pane.type("Tab", "k", "Space", "Space", "=")
    pane.wait_for("talk + big", "talk said ", "following")
    pane.type("/", "19999", "Enter")
    pane.wait_for("big  19999", "1 of 1")
    pane.type("g")
    pane.wait_for("paused")
    pane.wait_for_any("\nbig  1\n", "\nbig  1 ", "said 1\n", "said 1 ")  # with or without the bar beside it


GROWING = """\
name = "demo"

[tasks.grow]
command = "i=0; while [ $i -lt 3 ]; do i=$((i+1)); printf 'job %s ' $i; sleep 0.4; echo done; done; exec sleep 1000"
auto_start = false

[tasks.burst]
command = "seq 1 5000; exec sleep 1000"
auto_start = false

[tasks.slow]
command = "i=0; while [ $i -lt 6 ]; do i=$((i+1)); printf 'job %s ' $i; sleep 0.5; echo done; done; exec sleep 1000"
auto_start = false

[tasks.api]
command = "i=0; while [ $i -lt 10 ]; do i=$((i+1)); echo said $i; sleep 0.3; done; exec sleep 1000"
auto_start = false
"""


def test_a_filter_finds_lines_that_grow_and_all_of_a_burst_and_merged_logs_show_every_line_once(
    sandbox: Sandbox, folder: Path
) -> None:
    (folder / "paneview.toml").write_text(GROWING)
    supervise(folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("▌ grow", "idle")
    pane.type("Tab", "&", "done", "Enter")
    pane.wait_for("No line matches")
    run("start", "grow", cwd=folder)
    pane.wait_for("job 1 done", "job 2 done", "job 3 done", "3 matches")
    pane.type("Tab", "j", "Tab", "&", "[0-9]", "Enter")
    pane.wait_for("▌ burst", "No line matches")
    run("start", "burst", cwd=folder)
    pane.wait_for("\n5000", "5,000 matches · ▼ following · 5,000 lines")
    pane.type(":merge slow api", "Enter")
    pane.wait_for("slow + api")
    run("start", "slow", "api", cwd=folder)
    pane.wait_for("job 6 done", "said 10", "16 lines")

    def shown() -> list[str]:
        return [row.rstrip(" ▐") for row in pane.text().splitlines() if row.startswith(("slow ", "api "))]

    def stored() -> list[str]:
        lines = run("logs", "slow", "api", cwd=folder).out.splitlines()
        return [line.split(maxsplit=1)[1].replace("| ", "", 1) for line in lines]

    def of(task: str, lines: list[str]) -> list[str]:
        return [line for line in lines if line.startswith(task)]

    def same() -> bool:
        """Of lines of one moment, the two may tell another task's first."""
        seen, all_of_it = shown(), stored()
        return len(set(seen)) == len(seen) == 16 and all(
            of(task, seen) == of(task, all_of_it) for task in ("slow", "api")
        )

    wait_until(same, 40, interval=0.08)


def test_screen_and_command_line_see_the_same_and_a_closed_terminal_ends_only_the_screen(
    sandbox: Sandbox, folder: Path
) -> None:
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("▌ talk", "● running")
    run("stop", "talk", cwd=folder)
    pane.wait_for("■ stopped", "stopped")
    run("start", "hand", cwd=folder)
    wait_until(lambda: pane.text().count("● running") == 2)
    screen = pane.pid()
    sandbox.tmux("kill-session", "-t", "view")
    wait_until(lambda: not alive(screen))
    assert run("status", "--json", cwd=folder).json["active_tasks"] == 2


STUBBORN = """\
name = "demo"

[tasks.talk]
command = "exec sleep 1000"

[tasks.stubborn]
command = "trap '' INT TERM; while :; do sleep 0.2; done"
stop_grace_period = 2
"""


def test_stopping_everything_is_gone_on_with_though_the_supervisor_is_killed_over_it(
    sandbox: Sandbox, folder: Path
) -> None:
    (folder / "paneview.toml").write_text(STUBBORN)
    pane = Pane(sandbox, folder)
    pane.wait_for("stubborn ● running", "2 ok")
    tasks = {row["name"]: row["pid"] for row in run("status", "--json", cwd=folder).json["tasks"]}
    pane.type("q")
    pane.wait_for("Stop all")
    pane.type("s")
    pane.wait_for("stopping")
    (supervisor,) = supervisors(sandbox)
    os.kill(supervisor, signal.SIGKILL)
    pane.wait_for("the supervisor ended before all was stopped", "left with 0")
    assert not alive(tasks["stubborn"])
    assert not supervisors(sandbox)


def test_a_stop_of_everything_that_nobody_can_end_leaves_the_screen_open(
    sandbox: Sandbox, folder: Path
) -> None:
    """The supervisor is killed, and the file is wrong by now: no other one can take charge of the task."""
    (folder / "paneview.toml").write_text(STUBBORN)
    pane = Pane(sandbox, folder)
    pane.wait_for("stubborn ● running", "2 ok")
    pane.type("q")
    pane.wait_for("Stop all")
    pane.type("s")
    pane.wait_for("stopping")
    (folder / "paneview.toml").write_text("[tasks")
    (supervisor,) = supervisors(sandbox)
    os.kill(supervisor, signal.SIGKILL)
    pane.wait_for("the supervisor ended before all was stopped", "stubborn ◑")
    assert "left with" not in pane.text()
    (folder / "paneview.toml").write_text(STUBBORN)


def test_a_signal_ends_the_screen_cleanly_and_nothing_else(sandbox: Sandbox, folder: Path) -> None:
    supervise(folder)
    run("start", cwd=folder)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        pane = Pane(sandbox, folder, session=number.name)
        pane.wait_for("▌ talk", "● running")
        os.kill(pane.pid(), number)
        shown = pane.wait_for(f"left with {128 + number}")
        assert "Traceback" not in shown, number
        flags = [pane.flag(name) for name in ("alternate_on", "cursor_flag", "mouse_any_flag")]
        assert flags == ["0", "1", "0"], number
        assert run("status", "--json", cwd=folder).json["active_tasks"] == 2, number


def test_a_supervisor_that_dies_is_told_its_successor_found_and_stopped_with_everything_on_the_way_out(
    sandbox: Sandbox, folder: Path
) -> None:
    pane = Pane(sandbox, folder)
    pane.wait_for("▌ talk", "● running")
    (first,) = supervisors(sandbox)
    os.kill(first, signal.SIGKILL)
    pane.wait_for("disconnected", "▌ talk", "● running")
    assert run("start", cwd=folder).status == 0
    wait_until(lambda: "disconnected" not in pane.text())
    pane.wait_for("▌ talk", "● running", "2 ok")
    pane.type("q")
    pane.wait_for("Stop all")
    pane.type("s")
    pane.wait_for("left with 0")
    wait_until(lambda: not supervisors(sandbox))


def test_no_colour_where_none_is_wanted(
    sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PANEVIEW_THEME")
    monkeypatch.setenv("NO_COLOR", "1")
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("▌ talk", "● running")
    raw = sandbox.tmux("capture-pane", "-p", "-e", "-t", "view")
    codes = {code for part in raw.split("\x1b[")[1:] for code in part.partition("m")[0].split(";")}
    assert codes <= {"", "0", "1", "2", "4", "7", "39", "49"}


@pytest.mark.parametrize("seconds", [1, pytest.param(10, marks=pytest.mark.chaos)])
def test_a_terminal_that_stops_reading_stalls_nobody_and_can_be_left(
    sandbox: Sandbox, folder: Path, seconds: int
) -> None:
    """Nobody reads the pseudo-terminal: the screen falls behind, the tasks do not, and a signal still ends it."""
    (folder / "paneview.toml").write_text(BUSY)
    supervise(folder)
    run("start", cwd=folder)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.update(TERM="xterm-256color", COLUMNS="200", LINES="60")
        os.execv(COMMAND[0], [*COMMAND])
    try:
        _read_until(terminal, b"talk")
        before, stopped = _said(folder), time.monotonic()
        # Each line is a frame, drawn into nothing; what crashes meanwhile is brought back.
        wait_until(lambda: _said(folder) > before + 20 * seconds * 0.8)
        assert run("restart", "big", cwd=folder).status == 0
        wait_until(lambda: time.monotonic() > stopped + seconds)
        began = time.monotonic()
        os.kill(child, signal.SIGTERM)
        status = wait_until(lambda: os.waitpid(child, os.WNOHANG)[1] or None)
        assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 15
        assert terminal_is_back(_rest(terminal)), "for one that was only slow"
        assert run("status", "--json", cwd=folder).json["active_tasks"] == 2
    finally:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.close(terminal)


def terminal_is_back(written: bytes) -> bool:
    """Whether the last that was written ends mouse reports, shows the cursor, and goes back to the shell's screen."""
    _, _, last = written.rpartition(b"\x1b[?1049h")
    return all(code in last for code in (b"\x1b[?1000l", b"\x1b[?25h", b"\x1b[?1049l"))


def _rest(terminal: int) -> bytes:
    """What is still to be read."""
    rest = b""
    with contextlib.suppress(OSError):  # that is its end
        while data := os.read(terminal, 65536):
            rest += data
    return rest


def _said(folder: Path) -> int:
    """How many lines `talk` has written."""
    tasks = run("status", "--json", cwd=folder).json["tasks"]
    return int(next(one["log_end"] for one in tasks if one["name"] == "talk"))


def _read_until(terminal: int, part: bytes) -> None:
    seen = b""
    termios.tcsetwinsize(terminal, (60, 200))
    end = time.monotonic() + 20
    while part not in seen:
        assert time.monotonic() < end
        seen += os.read(terminal, 65536)
