"""Every test gets its own sandbox, and fails if it leaves anything behind.

The sandbox is a folder with a short path (Unix sockets allow 108 bytes) that serves as the home, state, temporary and
tmux socket folder of everything the test starts, so no test can reach the tmux server, the state or the configuration
of the person who runs it. Processes carry a marker in their environment, which survives double forks.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests import prepared
from tests.harness import MARKER, Sandbox, end_all, marked

# Where files would end up that escape from the sandbox.
STRAY = (Path.home() / ".local/state/paneview", Path(f"/tmp/paneview-{os.getuid()}"))
# Seconds that processes which the test has asked to end may take before they count as left behind.
GRACE = 3.0
LONGEST = {"test_readme.py", "test_sample.py", "test_footing.py", "test_outages.py"}
EXAMPLES = 30  # per property test
LONGEST_NAME = 200  # characters of a parameter in a test's name


def pytest_xdist_auto_num_workers() -> int:
    """Five more workers than cores: most tests wait for more than half of their time, and none is about speed."""
    return (os.cpu_count() or 1) + 5


def pytest_xdist_setupnodes() -> None:
    """Make the tests' bytecode in a fresh clone once, rather than in each of the processes about to start."""
    here = Path(__file__).parent
    if sys.flags.dont_write_bytecode or any(here.glob("__pycache__/test_*.pyc")):
        return
    tests = sorted(map(str, here.rglob("test_*.py")))
    collect = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-p", "no:cacheprovider"]
    halves = (tests[::2], tests[1::2])
    running = [
        subprocess.Popen([*collect, *half], cwd=here.parent, stdout=subprocess.DEVNULL) for half in halves
    ]
    for process in running:
        process.wait()  # errors in a test file are reported by the processes that run it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that the end of the suite does not wait for them alone."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    """Give signals the meaning they have in a terminal, and collect no garbage while tests are collected."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        # They are ignored under `pytest &` in a script and under `nohup`, and all processes started here inherit that.
        if signal.getsignal(number) is signal.SIG_IGN:
            # We still ignore the other two, but by a handler that does nothing, which is not inherited.
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else lambda *_: None)
    gc.disable()
    # A few examples, different in each run: `--hypothesis-profile=thorough` tries ten times as many.
    # On a shared machine, no example counts as too slow.
    settings.register_profile(
        "suite", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.register_profile("thorough", settings.get_profile("suite"), max_examples=10 * EXAMPLES)
    settings.load_profile("suite")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Collect garbage from here on, but not among objects that stay until the end."""
    gc.freeze()
    # Frozen objects don't count as old, so the few that a test leaves would be searched again and again.
    gc.set_threshold(10_000, 50, 100)
    gc.enable()


def pytest_unconfigure() -> None:
    """Collect garbage once more, rather than five times as pytest does at its end."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """A short id for a long text: each process sends all test names to the first one, megabytes without this."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_NAME:
        return f"{ascii(val[:LONGEST_NAME])[:LONGEST_NAME]}... {len(val)}"
    return None


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The private sandbox of this test; used for every test, even if it does not ask for it."""
    tempfile.gettempdir()  # cached by Python: pytest's own folders must not move into the sandbox
    stray_before = {path for path in STRAY if path.exists()}
    root = Path(tempfile.mkdtemp(prefix="pv-", dir="/tmp"))
    place = Sandbox(
        root=root, home=root / "state", marker=uuid.uuid4().hex, tmux_socket=str(root / "tmux.sock")
    )
    # PYTHONDONTWRITEBYTECODE would make every program that a test starts compile paneview anew.
    foreign = ("TMUX", "TMUX_PANE", "PANEVIEW_RUN", "NO_COLOR", "PYTHONDONTWRITEBYTECODE")
    for name in (*foreign, "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "TMPDIR", "TMUX_TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(root))
    monkeypatch.setenv("PANEVIEW_HOME", str(place.home))
    monkeypatch.setenv("PANEVIEW_TMUX_SOCKET", place.tmux_socket)
    monkeypatch.setenv(MARKER, place.marker)
    # Hundreds, from all tests running now: to search them would take milliseconds.
    others = frozenset(psutil.pids())
    yield place
    problems = _end_of_test(place, others)
    problems += [f"file {path}" for path in STRAY if path.exists() and path not in stray_before]
    shutil.rmtree(root)
    if problems:
        pytest.fail("the test left behind: " + "; ".join(problems), pytrace=False)


@pytest.fixture
def home(sandbox: Sandbox) -> Path:
    """$PANEVIEW_HOME of this test (not created yet)."""
    return sandbox.home


@pytest.fixture
def tmux_socket(sandbox: Sandbox) -> Iterator[str]:
    """Path of a private tmux socket; the server started on it is ended after the test."""
    yield sandbox.tmux_socket
    sandbox.end_tmux()


def _end_of_test(place: Sandbox, others: Collection[int]) -> list[str]:
    """End what is left; returns a line for each process that should not have been there."""
    deadline = time.monotonic() + GRACE
    while (left := marked(place.marker, others)) and time.monotonic() < deadline:
        time.sleep(0.01)
    lines = [_describe(process) for process in left] + [f"paneview {pid}" for pid in prepared.left()]
    while left:  # ended processes may have had children that are found only now
        end_all(left)
        left = marked(place.marker, others)
    return lines


def _describe(process: psutil.Process) -> str:
    try:
        return f"process {process.pid} ({' '.join(process.cmdline()) or process.name()})"
    except psutil.NoSuchProcess:
        return f"process {process.pid}"
