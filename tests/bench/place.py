"""A private place for measurements, a project in it, and the bell by which tasks say what they do and when.

The program under measurement is not asked anything to time it: a task writes a line into a FIFO when it starts,
and the reader's clock stamps it on arrival (under a millisecond later). So a figure is what the user's
process saw, not what a supervisor believes, and every peer is measured in the same way.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paneview.config.paths import control_socket
from tests.bench.usage import cpu_seconds
from tests.harness import MARKER, alive, end_all, marked, wait_until
from tests.terminal import PATIENCE, Screen

PANEVIEW = str(Path(sys.executable).with_name("paneview"))


class Bell:
    """A FIFO in which one line rings: ``echo NAME > bell`` in a task, `wait` here."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # Opened for writing as well, so that it never reads as closed between two tasks.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self._rung: list[tuple[float, str]] = []

    def wait(self, matches: Callable[[str], bool], patience: float = PATIENCE) -> tuple[float, str]:
        """The first line not yet taken that matches, with the time it came (`time.perf_counter`)."""
        end = time.monotonic() + patience
        while True:
            for index, (_, line) in enumerate(self._rung):
                if matches(line):
                    return self._rung.pop(index)
            if not select.select([self._fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"no bell within {patience} s; rung: {[line for _, line in self._rung]}")
            data = os.read(self._fd, 65536)
            now = time.perf_counter()
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rung += [(now, line.decode()) for line in lines]

    def count(self, number: int, patience: float = PATIENCE) -> tuple[float, list[str]]:
        """Wait for ``number`` lines; returns the time of the last, and all of them."""
        taken = [self.wait(lambda _line: True, patience) for _ in range(number)]
        return max(when for when, _ in taken), [line for _, line in taken]

    def forget(self) -> None:
        """Drop all lines so far."""
        while select.select([self._fd], [], [], 0)[0]:
            os.read(self._fd, 65536)
        self._rest = b""
        self._rung.clear()

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._fd)


class Place:
    """A private folder with a short path: home, state folder and tmux socket folder of all that is started in it."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pvb-", dir="/tmp"))
        self.marker = uuid.uuid4().hex
        self.tmux_socket = str(self.root / "tmux.sock")
        # Bytecode is kept, as it is for an installed program: otherwise every start would compile it anew.
        foreign = ("TMUX", "PANEVIEW", "XDG_", "PYTHONDONTWRITEBYTECODE")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
            "HOME": str(self.root),
            "TMPDIR": str(self.root),
            "TMUX_TMPDIR": str(self.root),
            "PANEVIEW_HOME": str(self.root / "state"),
            "PANEVIEW_TMUX_SOCKET": self.tmux_socket,
            "TERM": "xterm-256color",
            MARKER: self.marker,
        }
        self.bell = Bell(self.root / "bell")

    def ring(self, what: str, more: str = "-") -> str:
        """Shell text that rings the bell with ``what``, a blank and ``more``, such as ``$$``."""
        return f"echo {what} {more} > {self.bell.path}"

    def run(self, *argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of this place to its end."""
        return subprocess.run(
            argv, capture_output=True, text=True, env=self.env, cwd=cwd or self.root, check=False, timeout=120
        )

    def spawn(
        self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program of this place, silently, in a session of its own; `close` ends it at the latest."""
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**self.env, **(env or {})},
            cwd=cwd or self.root,
            start_new_session=True,
        )

    def close(self) -> None:
        """End every process that was started here, by pid, and remove the folder."""
        while left := marked(self.marker):
            end_all(left)
        self.bell.close()
        shutil.rmtree(self.root)


class Project:
    """A project under paneview in a `Place`."""

    def __init__(self, place: Place, toml: str, name: str = "bench") -> None:
        self.place = place
        self.folder = place.root / name
        self.folder.mkdir()
        self.file = self.folder / "paneview.toml"
        self.file.write_text(f'name = "{name}"\n{toml}')

    def cli(self, *args: str) -> Any:
        """Run a paneview command with ``--json``; returns its answer. Raises RuntimeError when it fails."""
        done = self.place.run(PANEVIEW, *args, "--json", cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"paneview {' '.join(args)}: {done.returncode} {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def serve(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a headless supervisor directly, without waiting until it answers."""
        return self.place.spawn(PANEVIEW, "--serve", *options, str(self.file), cwd=self.folder)

    def screen(self, *, pane: bool = False) -> Screen:
        """The TUI, as a context manager; ``pane``: in a pane of a tmux that has a client attached."""
        command = [PANEVIEW, str(self.file)]
        if pane:
            tmux = shutil.which("tmux") or "tmux"
            view = str(self.place.root / "view.sock")
            command = [tmux, "-S", view, "-f", "/dev/null", "new-session", shlex.join(command)]
        return Screen(command, self.folder, self.place.env)

    def state_dir(self) -> Path:
        """The project's state folder. Raises FileNotFoundError before a supervisor has made it."""
        found = list((self.place.root / "state").glob(f"{self.folder.name}-*"))
        if not found:
            raise FileNotFoundError(f"no state folder for {self.file}")
        return found[0]

    def ask(self, do: str, **args: Any) -> dict[str, Any]:
        """One request over the control socket. Raises OSError while no supervisor listens."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE)
            link.connect(str(control_socket(self.state_dir())))
            link.sendall(json.dumps({"id": 1, "do": do, "args": args}).encode() + b"\n")
            answer = json.loads(link.makefile("rb").readline())
        if not answer["ok"]:
            raise RuntimeError(f"{do}: {answer}")
        return dict(answer["result"])

    def running(self) -> dict[str, dict[str, Any]]:
        """The tasks that run, by name; empty while no supervisor answers."""
        try:
            tasks = self.ask("status")["tasks"]
        except OSError:
            return {}
        return {task["name"]: task for task in tasks if task["running"]}

    def wait_running(self, number: int, interval: float = 0.002) -> None:
        """Return when ``number`` tasks run."""
        wait_until(lambda: len(self.running()) >= number, PATIENCE, interval)

    def supervisor_pid(self) -> int:
        """The supervisor's process id."""
        return int(self.ask("status")["supervisor"]["pid"])

    def settle(self) -> None:
        """Return when the supervisor has done everything it was asked for before."""
        pid, before = self.supervisor_pid(), -1.0
        while (now := cpu_seconds(pid)) != before:
            before = now
            time.sleep(0.3)

    def kill_supervisor(self) -> None:
        """Send SIGKILL to the supervisor; returns when it is gone."""
        pid = self.supervisor_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid))

    def down(self) -> None:
        """Stop everything, the supervisor included."""
        self.place.run(PANEVIEW, "down", cwd=self.folder)


@contextmanager
def project(toml: str, *, name: str = "bench") -> Iterator[Project]:
    """A project in a place of its own, its supervisor answering and no task started; all is ended afterwards.

    ``BELL NAME`` in the text becomes the shell command that rings with NAME.
    """
    place = Place()
    try:
        made = Project(place, re.sub(r"BELL (\w+)", lambda found: place.ring(found[1]), toml), name)
        made.serve("--idle")
        wait_until(lambda: _answers(made), PATIENCE)
        yield made
    finally:
        place.close()


def sleepers(number: int, extra: str = "") -> str:
    """The text of ``number`` tasks that ring when they start, then sleep."""
    return "".join(
        f"[tasks.t{index}]\ncommand = 'BELL t{index}; exec sleep 100000'\n{extra}\n"
        for index in range(1, number + 1)
    )


def _answers(project_: Project) -> bool:
    try:
        project_.ask("status")
    except OSError:
        return False
    return True
