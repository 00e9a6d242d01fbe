"""The tests' sandbox: a leak must be detected, and nothing may reach the user's own tmux."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import Sandbox, alive, end_all, free_port, marked, wait_until

pytest_plugins = ["pytester"]


def test_sandbox_is_private(sandbox: Sandbox, home: Path) -> None:
    assert os.environ["PANEVIEW_HOME"] == str(home) == str(sandbox.root / "state")
    assert "TMUX" not in os.environ
    assert len(sandbox.tmux_socket) < 60


def test_server_reads_the_sandbox_configuration(sandbox: Sandbox, tmux_socket: str) -> None:
    sandbox.tmux_conf.write_text("set -g base-index 7\n")
    sandbox.tmux("new-session", "-d", "-s", "x", "sleep 60")
    assert sandbox.tmux("show", "-gv", "base-index") == "7"
    pid = sandbox.tmux_server_pid()
    assert pid
    sandbox.end_tmux()
    assert not alive(pid)


def test_marked_finds_a_process_that_left_its_parent(sandbox: Sandbox) -> None:
    code = "import os,time\nif os.fork(): os._exit(0)\nos.setsid()\ntime.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=True)
    (found,) = wait_until(lambda: marked(sandbox.marker))
    end_all([found])
    assert not marked(sandbox.marker)


def test_a_leak_fails_the_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # Loading all plugins takes longer than finding a leak.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = Path(__file__).parent.parent
    pytester.makeconftest(
        f"import sys; sys.path.insert(0, {str(root)!r})\nfrom tests import conftest\nconftest.GRACE = 0.1\n"
        "from tests.conftest import sandbox\n"
    )
    pytester.makepyfile("import subprocess\ndef test_x(): subprocess.Popen(['sleep', '61'])")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left behind: process * (sleep 61)*"])


def test_free_port_is_free() -> None:
    assert 1024 < free_port() < 65536
