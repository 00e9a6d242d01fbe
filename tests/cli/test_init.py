"""``paneview init`` as a person, a script and an agent use it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from paneview.cli.projectshapes import Init
from paneview.cli.shapes import Failure
from tests.cli.support import COMMAND, check_shape, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Sandbox

PROCFILE = "web: python3 -m http.server $PORT\nworker: sleep 1000\n"


@pytest.fixture
def folder(sandbox: Sandbox) -> Path:
    """A project without a configuration file."""
    folder = sandbox.root / "fresh"
    folder.mkdir()
    (folder / "Procfile").write_text(PROCFILE)
    return folder


def typed(folder: Path, keys: str) -> tuple[int, str]:
    """Run `init` on a terminal of its own where these keys are typed; returns its exit status and what it showed."""
    # A session leader that opens a terminal gets it as its controlling one, and with it Ctrl-C.
    own = "import os, sys; os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.argv[1], sys.argv[1:])"
    argv = [sys.executable, "-ISc", own, *COMMAND, "init"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        shown = _until(ours, b"] ")
        os.write(ours, keys.encode())
        # A Ctrl-C between the prompt and the reading of the answer is only noticed with the next one.
        shown += _until(ours, None, again=keys.encode() if keys == "\x03" else b"")
        return process.wait(20), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _until(terminal: int, words: bytes | None, again: bytes = b"") -> bytes:
    """The terminal's output until it has `words` (None: until the program has gone); `again` is typed meanwhile."""
    shown = b""
    give_up = time.monotonic() + 20
    while words is None or words not in shown:
        if not select.select([terminal], [], [], 0.5)[0]:
            assert time.monotonic() < give_up, shown
            os.write(terminal, again)
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the program at the other end has gone
            break
        shown += data
    return shown


def test_a_new_project(folder: Path) -> None:
    done = run("init", "--defaults", cwd=folder)
    assert done.status == 0, done.err
    assert "(web, worker)" in done.out
    assert run("check", "--json", cwd=folder).json["tasks"] == ["web", "worker"]
    for name in ("AGENTS.md", "CLAUDE.md"):
        assert "paneview status" in (folder / name).read_text()


def test_twice_is_once_and_the_users_text_stays(folder: Path) -> None:
    (folder / "CLAUDE.md").write_bytes(b"# Mine\r\n\xff")
    first = run("init", "--json", cwd=folder)
    check_shape(Init, first.json)
    assert [one["action"] for one in first.json["agents"]] == ["created", "updated"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before["CLAUDE.md"].startswith(b"# Mine\r\n\xff\r\n")
    second = run("init", "--json", cwd=folder)
    assert second.json["action"] == "kept"
    assert [one["action"] for one in second.json["agents"]] == ["unchanged", "unchanged"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_taskmux_toml_is_kept_in_force(folder: Path) -> None:
    (folder / "taskmux.toml").write_text('[tasks.old]\ncommand = "true"\n')
    (folder / "AGENTS.md").write_text("<!-- taskmux:start -->\nAlways use taskmux\n<!-- taskmux:end -->\n")
    done = run("init", "--json", cwd=folder)
    assert done.json["taskmux"] == ["AGENTS.md"]
    assert "take it out: AGENTS.md" in run("init", cwd=folder).out
    assert (done.json["action"], done.json["file"]) == ("kept", str(folder / "taskmux.toml"))
    assert not (folder / "paneview.toml").exists()
    assert "`taskmux.toml`" in (folder / "AGENTS.md").read_text()


def test_a_link_stays_one_and_gets_one_block(folder: Path) -> None:
    (folder / "AGENTS.md").write_text("# Mine\n")
    (folder / "CLAUDE.md").symlink_to("AGENTS.md")
    done = run("init", "--json", cwd=folder)
    assert [one["action"] for one in done.json["agents"]] == ["updated", "unchanged"]
    assert (folder / "CLAUDE.md").is_symlink()
    assert (folder / "AGENTS.md").read_text().count("paneview:begin") == 1


def test_what_cannot_be_written_is_told(folder: Path) -> None:
    (folder / "AGENTS.md").mkdir()
    (folder / "CLAUDE.md").write_bytes(b"\0")
    done = run("init", "--json", cwd=folder)
    assert (done.status, done.json["action"]) == (0, "created")
    assert [one["action"] for one in done.json["agents"]] == ["skipped", "skipped"]


def test_half_a_file_is_not_left(folder: Path) -> None:
    """As on a full disk: a file can be created, but nothing be written to it."""
    line = f"ulimit -f 0; exec {' '.join(COMMAND)} init --json"
    for there in ["Procfile"], ["Procfile", "paneview.toml"]:
        if "paneview.toml" in there:  # which is kept: only what agents read is missing
            (folder / "paneview.toml").write_text('name = "mine"\n')
        done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
        assert "File too large" in done.stdout, done.stderr
        assert sorted(os.listdir(folder)) == there


def test_an_env_file_with_a_mistake_is_told_and_nothing_is_written(folder: Path) -> None:
    (folder / ".env").write_text("this is = no = variable\n'")
    done = run("init", "--defaults", "--json", cwd=folder)
    assert done.status == 2
    check_shape(Failure, done.json)
    assert sorted(path.name for path in folder.iterdir()) == [".env", "Procfile"]


@pytest.mark.parametrize(
    ("keys", "tasks"),
    [("\n\n", ["web", "worker"]), ("n\ny\n", ["worker"]), ("d\n", ["web", "worker"]), ("what\nno\nN\n", [])],
)
def test_a_person_is_asked(folder: Path, keys: str, tasks: list[str]) -> None:
    status, shown = typed(folder, keys)
    assert status == 0, shown
    assert "http.server" in shown
    assert run("check", "--json", cwd=folder).json["tasks"] == tasks


@pytest.mark.parametrize(("keys", "status"), [("q\n", 1), ("y\n\x04", 1), ("\x03", 130)])
def test_a_person_may_leave_it(folder: Path, keys: str, status: int) -> None:
    assert typed(folder, keys)[0] == status
    assert sorted(path.name for path in folder.iterdir()) == ["Procfile"]
