"""Every test gets a place of its own, and is failed when it leaves anything behind.

The place is a short folder (Unix sockets allow 108 bytes) that is at once the home, the state folder, the
temporary folder and the tmux socket folder of whatever the test starts; so no test can reach the tmux server,
the state or the configuration of the person who runs it. Processes carry a marker in their environment, which
survives double forks.
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

# Where something would land that escaped from its sandbox.
STRAY = (Path.home() / ".local/state/paneview", Path(f"/tmp/paneview-{os.getuid()}"))
# Processes that the test has told to end may take this long before they count as left behind.
GRACE = 3.0
LONGEST = {"test_readme.py", "test_sample.py"}
EXAMPLES = 30  # that a property of any input is tried with
LONGEST_NAME = 200  # characters of what a test is called after


def pytest_xdist_auto_num_workers() -> int:
    """Five more than there are cores: most tests wait more than half of the time, and none is about speed."""
    return (os.cpu_count() or 1) + 5


def pytest_xdist_setupnodes() -> None:
    """What a fresh clone keeps is made once, side by side, and not by each of the processes that are about to begin.

    That is what the tests are compiled to, and what hypothesis has to know of Unicode.
    """
    if sys.flags.dont_write_bytecode or any(Path(__file__).parent.glob("__pycache__/test_*.pyc")):
        return
    jobs = (
        ["-m", "pytest", "-n", "0", "--collect-only"],
        ["-c", "from hypothesis import strategies; strategies.text().validate()"],
    )
    root = Path(__file__).parents[1]
    running = [subprocess.Popen([sys.executable, *job], cwd=root, stdout=subprocess.DEVNULL) for job in jobs]
    for process in running:
        process.wait()  # what is wrong with a test file is told by those who run it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits longest begins first, so that nobody waits for it alone at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    """Signals mean what they mean in a terminal, and no garbage is looked for while the tests are collected."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        # `pytest &` in a script and `nohup` have them ignored, which all that is started here would inherit.
        if signal.getsignal(number) is signal.SIG_IGN:
            # We go on ignoring the other two: unlike that, a handler that does nothing is not inherited.
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else lambda *_: None)
    gc.disable()
    # Other examples with every run, few of them: `--hypothesis-profile=thorough` tries ten times as many.
    # And on a machine that others use, too, no example is too slow.
    settings.register_profile(
        "suite", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.register_profile("thorough", settings.get_profile("suite"), max_examples=10 * EXAMPLES)
    settings.load_profile("suite")


def pytest_collection_finish(session: pytest.Session) -> None:
    """From here on garbage is looked for, but not among what stays until the end."""
    gc.freeze()
    # What is frozen does not count as old: the little that a test leaves would be gone through again and again.
    gc.set_threshold(10_000, 50, 100)
    gc.enable()


def pytest_unconfigure() -> None:
    """Garbage is looked for once more, and not five times as pytest would at its end."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object) -> str | None:
    """A short name for a test of a long text: each process sends all names to the first one, megabytes as they are."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_NAME:
        return f"{ascii(val[:LONGEST_NAME])[:LONGEST_NAME]}... {len(val)}"
    return None


@pytest.fixture(autouse=True)
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The private place of this test; in use for every test, whether it asks or not."""
    tempfile.gettempdir()  # remembered by Python: pytest's own folders must not move into the sandbox
    stray_before = {path for path in STRAY if path.exists()}
    root = Path(tempfile.mkdtemp(prefix="pv-", dir="/tmp"))
    place = Sandbox(
        root=root, home=root / "state", marker=uuid.uuid4().hex, tmux_socket=str(root / "tmux.sock")
    )
    # Without its bytecode kept, every program a test starts compiles paneview anew.
    foreign = ("TMUX", "TMUX_PANE", "PANEVIEW_RUN", "NO_COLOR", "PYTHONDONTWRITEBYTECODE")
    for name in (*foreign, "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "TMPDIR", "TMUX_TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(root))
    monkeypatch.setenv("PANEVIEW_HOME", str(place.home))
    monkeypatch.setenv("PANEVIEW_TMUX_SOCKET", place.tmux_socket)
    monkeypatch.setenv(MARKER, place.marker)
    # Hundreds, of all tests that run now: to look at them takes milliseconds.
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
    """End what is still there; a line for each process that should not have been."""
    deadline = time.monotonic() + GRACE
    while (left := marked(place.marker, others)) and time.monotonic() < deadline:
        time.sleep(0.01)
    lines = [_describe(process) for process in left] + [f"paneview {pid}" for pid in prepared.left()]
    while left:  # ended processes may have been the parents of others that only now show themselves
        end_all(left)
        left = marked(place.marker, others)
    return lines


def _describe(process: psutil.Process) -> str:
    try:
        return f"process {process.pid} ({' '.join(process.cmdline()) or process.name()})"
    except psutil.NoSuchProcess:
        return f"process {process.pid}"
