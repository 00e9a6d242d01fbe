"""The queue's screen of the real program in a real tmux pane, over a real supervisor, real workers and a real queue."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import environment, run, supervise
from tests.harness import Sandbox, wait_until
from tests.tui.test_live import Pane

pytestmark = pytest.mark.timeout(120)

FILE = """\
name = "kitchen"

[queue]
heartbeat_interval = 0.5
max_attempts = 1
respawn_limit = 1

[workers.cook]
role = "chef"
command = ["sh", "-c", "cat; echo; echo served"]

[workers.broken]
handlers = ["missing"]
"""


@pytest.fixture
def folder(sandbox: Sandbox, tmux_socket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = sandbox.root / "kitchen"
    place.mkdir()
    (place / "paneview.toml").write_text(FILE)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    yield place
    run("down", cwd=place)


def test_dispatch_look_retry_cancel_purge_release_by_key(sandbox: Sandbox, folder: Path) -> None:
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("TASK", "cook")
    pane.type("3")
    pane.wait_for("queue", "No jobs yet. d dispatches one", "● idle", "✗ quarantined")
    _dispatch_and_look(pane)
    _retry_and_purge(pane, folder)
    # One that waits for nobody.
    waits = run("dispatch", "host:nowhere", "ping", "--json", cwd=folder).json["id"]
    pane.wait_for("host:nowhere", "○ queued")
    pane.type("g")
    pane.wait_for("▌ ○ queued")

    def asks() -> bool:
        pane.type("c")  # not heeded while the cursor has just left what was purged
        return "Cancel ping" in pane.text()

    wait_until(asks)
    pane.type("y")
    pane.wait_for("■ cancelled")
    assert run("job", waits, "--json", cwd=folder).json["job"]["state"] == "cancelled"
    # The quarantined one is the first of the workers.
    (folder / "missing.py").write_text(
        "from paneview.worker import handler\n@handler('knit')\ndef knit(c): return 1\n"
    )
    pane.type("U")
    pane.wait_for("broken is released")
    wait_until(lambda: (shown := pane.text()).count("● idle") == 2 and "quarantined" not in shown)
    pane.type("5")
    pane.wait_for("job dispatched · prompt for role:chef")
    pane.type("Escape")
    pane.wait_for("TASK", "cook")
    pane.type("q", "Enter")
    pane.wait_for("left with 0")


def _dispatch_and_look(pane: Pane) -> None:
    """A prompt for a role, completed by tab, typed as plain text; then all about it."""
    pane.type("d")
    pane.wait_for("Dispatch a job", "role:chef")
    for typed, shown in (
        ("role:c", "role:c"),
        ("Tab", "role:chef"),
        ("Tab", "prompt  ping"),
        ("prom", "prom"),
        ("Tab", "kind     prompt"),
        ("Tab", "enter sends it without"),
        ("make soup", 'enter sends {"text": "make soup"}'),
    ):
        pane.type(typed)
        pane.wait_for(shown)
    pane.type("Enter")
    pane.wait_for("✓ done", "make soup", "prompt for role:chef")
    pane.type("Enter")
    pane.wait_for('"text": "make soup"', "result: ok by", "served", "1 of 1")
    pane.type("Escape")
    pane.wait_for("queue")


def _retry_and_purge(pane: Pane, folder: Path) -> None:
    """One that fails at once, seen live; retried, then purged after a question."""
    run("dispatch", "any", "knit", "--delay", "1ms", cwd=folder)  # else it is refused: nobody has a handler
    pane.wait_for("✗ dead", "1 dead", "this worker has")
    pane.type("g")  # the cursor has stayed with its job
    pane.wait_for("▌ ✗ dead")
    pane.type("r")
    pane.wait_for("queued again")
    wait_until(
        lambda: len(run("dlq", "show", _dead(folder), "--json", cwd=folder).json["jobs"][0]["errors"]) == 2
    )
    pane.wait_for("▌ ✗ dead")
    pane.type("p")
    pane.wait_for("Purge knit", "▌ n No", "forgotten for good")
    pane.type("Escape")
    wait_until(lambda: "Purge knit" not in pane.text())
    pane.type("p")
    pane.wait_for("Purge knit")
    pane.type("y")
    wait_until(lambda: "✗ dead" not in pane.text())


def _dead(folder: Path) -> str:
    """The dead letter, once there is one again."""
    found = wait_until(lambda: run("dlq", "--json", cwd=folder).json["jobs"])
    return str(found[0]["id"])


@pytest.mark.chaos
def test_a_killed_worker_and_what_it_held_are_seen_live(sandbox: Sandbox, folder: Path) -> None:
    (folder / "paneview.toml").write_text(
        FILE.replace("cat; echo; echo served", "sleep 600").replace("max_attempts = 1", "max_attempts = 2")
        .replace("respawn_limit = 1", "respawn_limit = 5").partition("[workers.broken]")[0]
    )  # fmt: skip
    supervise(folder)
    run("start", cwd=folder)
    pane = Pane(sandbox, folder)
    pane.wait_for("TASK", "cook")
    run("submit", "for ever", cwd=folder)
    pane.type("3")
    pane.wait_for("◐ busy", "● running", "1/2", "prompt for ever")
    (worker,) = run("workers", "--json", cwd=folder).json["workers"]
    os.kill(worker["pid"], signal.SIGKILL)
    pane.wait_for("◐ busy", "● running", "2/2")
    pane.type("c")
    pane.wait_for("Cancel prompt")
    pane.type("y")
    pane.wait_for("■ cancelled", "● idle")
