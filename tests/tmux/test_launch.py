from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from libtmux import Server

from paneview.tmux import launch
from paneview.tmux.errors import SessionTaken, TmuxError, TmuxMissing, TmuxSilent, TmuxTooOld
from tests.harness import Sandbox, wait_until
from tests.tmux.conftest import HUB, NAME, Bench

KEY = "0123abcd45"


def start(argv: list[str], folder: Path, name: str = NAME, **environ: str) -> launch.SessionRef:
    return launch.start_window(
        name, argv, socket=None, project_key=KEY, environ={**os.environ, **environ}, cwd=folder
    )


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("tmux 3.3a", (3, 3, "a")),
        ("tmux 3.6", (3, 6, "")),
        ("tmux next-3.5", (3, 5, "")),
        ("tmux 2.9a", (2, 9, "a")),
        ("tmux openbsd-7.4", (7, 4, "")),
        ("tmux master", None),
    ],
)
def test_versions(text: str, version: tuple[int, int, str] | None) -> None:
    assert launch.parse_version(text) == version


def fake_tmux(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    program = folder / "tmux"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("says", ["tmux 2.9", "tmux 3.2a", "tmux 3.3"])
def test_a_tmux_that_is_too_old_is_refused(
    says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tmux(tmp_path, monkeypatch, says)
    with pytest.raises(TmuxTooOld) as caught:
        launch.check_version()
    found = says.removeprefix("tmux ")
    assert str(caught.value) == (
        f"tmux 3.3a or newer is needed, found {found}: apt-get install tmux / brew install tmux"
    )


@pytest.mark.parametrize("says", ["tmux 3.3a", "tmux 3.4", "tmux 3.10", "tmux next-3.5", "tmux master"])
def test_a_tmux_that_is_new_enough_is_taken(
    says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tmux(tmp_path, monkeypatch, says)
    assert launch.check_version() == says.removeprefix("tmux ")


def test_no_tmux_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TmuxMissing, match="apt-get install tmux"):
        launch.check_version()
    with pytest.raises(TmuxMissing, match="apt-get install tmux"):
        launch.find_session(NAME, None, KEY)


def test_the_tmux_here_will_do() -> None:
    version = launch.parse_version(launch.check_version())
    assert version is None or version >= (3, 2, "a")


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, paneview.tmux.launch; print(sorted(sys.modules.keys() & set(sys.argv[1:])))"
    heavy = ["asyncio", "psutil", "msgspec", "textual", "libtmux", "sqlite3"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_first_window_runs_the_hub(sandbox: Sandbox, tmux_socket: str, folder: Path) -> None:
    ref = start(["sh", "-c", 'echo "$0 $1 $PANEVIEW_X" > out; exec sleep 1000', "a b", "#{c} %d"], folder,
                PANEVIEW_X="x\ny 'z'")  # fmt: skip
    assert ref.created
    assert ref.server_pid == sandbox.tmux_server_pid()
    out = folder / "out"
    wait_until(lambda: out.exists() and out.read_text().endswith("\n"))
    assert out.read_text() == "a b #{c} %d x\ny 'z'\n"
    assert sandbox.tmux("list-windows", "-F", "#W #{window_width}x#{window_height}") == "paneview 200x24"


def test_hub_in_a_session_that_is_there(
    sandbox: Sandbox, tmux_socket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLUMNS", "LINES"):  # where these are set, `env` is run to hide them
        monkeypatch.delenv(name, raising=False)
    first = start(HUB, folder)
    again = start(["sleep", "1001"], folder)
    assert not again.created
    assert again.session_id == first.session_id
    windows = sandbox.tmux(
        "list-windows", "-t", NAME, "-F", '#W #{s|"||:pane_start_command} #{remain-on-exit}'
    )
    assert windows == "paneview sleep 1000 off\npaneview sleep 1001 off"


def test_a_hub_that_ends_takes_its_window_along(sandbox: Sandbox, tmux_socket: str, folder: Path) -> None:
    sandbox.tmux_conf.write_text("setw -g remain-on-exit on\n")
    start(HUB, folder)
    start(["true"], folder)
    wait_until(lambda: sandbox.tmux("list-windows", "-t", NAME, "-F", "#{window_index}").count("\n") == 0)


def test_a_session_that_is_not_ours(sandbox: Sandbox, tmux_socket: str, folder: Path) -> None:
    sandbox.tmux("new-session", "-d", "-s", NAME, "sleep 1000")
    before = sandbox.tmux("list-panes", "-a"), sandbox.tmux("show-options", "-t", NAME)
    with pytest.raises(SessionTaken, match="rename-session") as caught:
        start(HUB, folder)
    assert "\n" not in str(caught.value)
    assert (sandbox.tmux("list-panes", "-a"), sandbox.tmux("show-options", "-t", NAME)) == before


def test_a_session_whose_name_begins_like_ours(sandbox: Sandbox, tmux_socket: str, folder: Path) -> None:
    sandbox.tmux("new-session", "-d", "-s", NAME + "-old", "sleep 1000")
    assert start(HUB, folder).created


def test_the_marker_of_a_task_does_not_reach_the_users_windows(
    sandbox: Sandbox, tmux_socket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANEVIEW_RUN", f"{KEY}-1")
    start(["sleep", "100"], folder)
    assert "PANEVIEW_RUN" not in sandbox.tmux("show-environment", "-g")


def test_a_session_that_the_user_has_renamed_is_ours_still(
    sandbox: Sandbox, tmux_socket: str, folder: Path
) -> None:
    first = start(HUB, folder)
    sandbox.tmux("rename-session", "-t", NAME, "mine")
    again = start(HUB, folder)
    assert (again.session_id, again.created) == (first.session_id, False)
    sandbox.tmux("new-session", "-d", "-s", NAME, "sleep 1000")  # another's, in nobody's way
    assert launch.find_session(NAME, None, KEY) == again
    assert sandbox.tmux("display-message", "-p", "-t", first.session_id, "#S") == "mine"


def test_of_two_sessions_of_ours_the_one_with_our_name(
    sandbox: Sandbox, tmux_socket: str, folder: Path
) -> None:
    for name in ("a", NAME, "z"):
        sandbox.tmux("new-session", "-d", "-s", name, "sleep 1000")
        sandbox.tmux("set-option", "-t", name, launch.PROJECT_OPTION, KEY)
    found = launch.find_session(NAME, None, KEY)
    assert found
    assert sandbox.tmux("display-message", "-p", "-t", found.session_id, "#S") == NAME


def test_another_checkout_of_our_project(tmux_socket: str, folder: Path) -> None:
    start(HUB, folder)
    with pytest.raises(SessionTaken):
        launch.find_session(NAME, None, "ffff000011")


def test_refusals_are_one_line(tmux_socket: str, folder: Path) -> None:
    start(HUB, folder)
    with pytest.raises(TmuxError) as caught:
        launch.run_tmux(None, "source-file", "-", script="no-such-command x\n")
    assert str(caught.value) == "unknown command: no-such-command"


@pytest.mark.parametrize(("by", "names"), [("env", "PANEVIEW_TMUX_SOCKET"), ("file", r"\[tmux\] socket")])
def test_a_socket_that_cannot_be_made_is_told(
    by: str, names: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = str(folder / "missing" / "s")
    if by == "env":
        monkeypatch.setenv("PANEVIEW_TMUX_SOCKET", socket)
    else:
        monkeypatch.delenv("PANEVIEW_TMUX_SOCKET", raising=False)
    assert launch.find_session(NAME, socket, KEY) is None
    wanted = f"{socket}, which {names}.*: No such file or directory$"
    with pytest.raises(TmuxError, match=wanted):
        launch.start_window(NAME, HUB, socket=socket, project_key=KEY, environ=os.environ, cwd=folder)
    with pytest.raises(TmuxError, match=wanted):
        launch.run_tmux(socket, "new-session", "-d")


def test_variables_of_the_server_are_hidden(sandbox: Sandbox, tmux_socket: str, folder: Path) -> None:
    """The server keeps the environment of whoever started it, perhaps another project's."""
    environ = {**os.environ, "STALE": "x\nMORE=y", "COLUMNS": "33"}
    subprocess.run(
        ["tmux", "-S", tmux_socket, "new-session", "-d", "-s", "o", "sleep 1000"], env=environ, check=True
    )
    start(["sh", "-c", "env > out; mv out done; exec sleep 1000"], folder, KEPT="1")
    text = wait_until(lambda: (folder / "done").exists() and (folder / "done").read_text())
    names = {line.partition("=")[0] for line in text.splitlines()}
    assert "KEPT" in names
    assert not names & {"STALE", "COLUMNS"}


async def test_a_window_is_found_by_the_whole_name_of_its_task(bench: Bench) -> None:
    pane = await bench.spawn("sleep 1000", task="web.1")
    session = bench.session.session_id
    assert launch.find_window(session, None, "web.1") == pane.window_id
    assert launch.find_window(session, None, "web") is None


def attach(argv: list[str], environ: dict[str, str]) -> tuple[int, int]:
    """Run this in a terminal of its own; process id and terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], argv, {**environ, "TERM": "xterm"})
    return pid, terminal


def hang_up(pid: int, terminal: int) -> None:
    os.close(terminal)
    os.waitpid(pid, 0)


async def test_attach_from_outside_and_from_another_server(sandbox: Sandbox, bench: Bench) -> None:
    pane = await bench.spawn("sleep 1000")
    for inside in ({}, {"TMUX": "/nowhere/default,1,0", "TMUX_PANE": "%7"}):
        environ = {**os.environ, **inside}
        pid, terminal = attach(launch.attach_argv(f"={NAME}", None, pane.window_id, environ), environ)
        # The control client is one of the two.
        wait_until(lambda: sandbox.tmux("list-clients", "-F", "#{client_pid}").count("\n") == 1)
        assert sandbox.tmux("list-windows", "-t", NAME, "-F", "#{window_active} #I #{window_id}").endswith(
            f"1 1 {pane.window_id}"
        )
        hang_up(pid, terminal)


async def test_attach_from_within_changes_over(sandbox: Sandbox, bench: Bench) -> None:
    pane = await bench.spawn("sleep 1000")
    sandbox.tmux("new-session", "-d", "-s", "theirs", "sleep 1000")
    pid, terminal = attach(["tmux", "-S", sandbox.tmux_socket, "attach", "-t", "theirs"], dict(os.environ))
    wait_until(lambda: "theirs" in sandbox.tmux("list-clients", "-F", "#{session_name}"))
    argv = launch.attach_argv(f"={NAME}", None, pane.window_id, {"TMUX": f"{sandbox.tmux_socket},1,0"})
    assert "switch-client" in argv
    sandbox.tmux("respawn-pane", "-k", "-t", "=theirs:", *argv)
    wait_until(lambda: sandbox.tmux("list-clients", "-F", "#{session_name}") == f"{NAME}\n{NAME}")
    hang_up(pid, terminal)


def test_libtmux_sees_a_plain_session(tmux_socket: str, folder: Path) -> None:
    """What other tools of the user's see: nothing special."""
    start(HUB, folder)
    (session,) = Server(socket_path=tmux_socket).sessions
    assert session.name == NAME
    assert [window.name for window in session.windows] == ["paneview"]


def test_a_server_without_sessions(sandbox: Sandbox, tmux_socket: str, folder: Path) -> None:
    sandbox.tmux_conf.write_text("set -s exit-empty off\n")
    sandbox.tmux("start-server")
    assert launch.find_session(NAME, None, KEY) is None
    assert start(HUB, folder).created


def test_bytes_that_are_no_text(sandbox: Sandbox, tmux_socket: str, folder: Path) -> None:
    start(["sh", "-c", 'printf %s "$0$ODD" > out; exec sleep 1000', "\udcff"], folder, ODD="a\udcfeb")
    out = folder / "out"
    wait_until(lambda: out.exists() and out.read_bytes())
    assert out.read_bytes() == b"\xffa\xfeb"


def test_a_session_that_ends_just_then_is_made_anew(
    folder: Path, tmux_socket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a supervisor that could not start: its session is seen, and gone with its last window."""
    first = start(["sleep", "1000"], folder)
    real, ended = shutil.which("tmux"), tmp_path / "ended"
    program = tmp_path / "tmux"
    # The real one, under which the server ends once after a command that was to find the session.
    program.write_text(
        f'#!/bin/sh\n{real} "$@" || exit\ncase "$*" in *list-sessions*) [ -e {ended} ] && exit; : >{ended}\n'
        f"kill -9 {first.server_pid}; while kill -0 {first.server_pid} 2>/dev/null; do sleep 0.01; done;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    again = start(["sleep", "1000"], folder)
    assert again.created
    assert again.server_pid != first.server_pid
    assert ended.exists()


def test_a_server_that_does_not_answer_is_not_taken_for_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_TIMEOUT", 0.3)
    pid = bench.session.server_id.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TmuxSilent, match=r"the tmux server has not answered for 0\.3 s"):
            launch.find_session(NAME, None, KEY)
    finally:
        os.kill(pid, signal.SIGCONT)
