"""Notes that workers in tmux panes leave on their host, so that a watchdog can bring them back.

Nothing in them comes from the queue: a watchdog starts again what this user once started here, with its environment.
The notes are in a private folder; a worker that ends normally removes its own, so a note without a process belongs to
a worker that died.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from paneview import proc
from paneview.config import paths
from paneview.proc import ProcessId
from paneview.worker.panes import Pane

AGAIN = ".again"  # suffix of a note by which a watchdog is just bringing its worker back
HIDDEN = 60.0  # seconds after which that has failed


@dataclass(frozen=True, slots=True)
class Record:
    """A worker's note about itself."""

    id: str
    name: str
    host: str
    broker: str
    """The queue's URL, password included."""
    pid: int
    start: int
    boot: str
    pane: str
    socket: str
    """Path of the tmux server's socket."""
    argv: tuple[str, ...]
    cwd: str
    environ: Mapping[str, str]
    server: int = 0
    """The processes that also identify its pane, see `Pane`."""
    server_start: int = 0
    pane_pid: int = 0
    space: str = ""
    """The pid namespace in which these processes are; empty: not known."""

    @property
    def elsewhere(self) -> bool:
        """Whether it is of another container that shares our state folder: what its process does cannot be told."""
        return self.boot == proc.boot_id() and self.space not in ("", proc.pid_space())

    @property
    def place(self) -> Pane:
        """The worker's pane; meaningless after a reboot."""
        return Pane(self.pane, self.socket, self.server, self.server_start, self.pane_pid)

    @property
    def process(self) -> ProcessId:
        """The worker's process."""
        return ProcessId(self.pid, self.start)

    @property
    def alive(self) -> bool:
        """Whether the worker's process still runs."""
        return self.boot == proc.boot_id() and proc.is_alive(self.process)


def marker(worker: str) -> str:
    """The PANEVIEW_RUN of a worker's programs if no supervisor has marked them."""
    return f"worker-{worker}"


def folder() -> Path:
    """The folder of the notes."""
    return paths.state_home() / "workers"


def write(worker: str, name: str, host: str, broker: str, environ: Mapping[str, str]) -> Path | None:
    """Leave a note about this process, the worker with this id; returns its path, None outside tmux. Raises OSError."""
    pane, process = Pane.here(environ), proc.identify(os.getpid())
    if pane is None or process is None:
        return None
    record = Record(
        worker, name, host, broker, process.pid, process.start, proc.boot_id(), pane.id, pane.socket,
        (sys.executable, *sys.orig_argv[1:]), os.getcwd(), dict(environ),
        pane.server, pane.server_start, pane.pid, proc.pid_space(),
    )  # fmt: skip
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, draft = place / f"{worker}.json", place / f"{worker}.draft"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(record), file)
    draft.replace(path)
    return path


def read(path: Path) -> Record | None:
    """The note in a file; None if it is gone or invalid."""
    try:
        data = json.loads(path.read_bytes())
        return Record(**{**data, "argv": tuple(data["argv"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def unhide() -> None:
    """Show notes again whose watchdog was killed while it was bringing their workers back."""
    with suppress(OSError):  # another process may do the same, or use the note now
        for note in folder().glob(f"*{AGAIN}"):
            if abs(time.time() - note.stat().st_ctime) > HIDDEN:
                note.rename(note.with_suffix(".json"))


def read_all() -> dict[Path, Record]:
    """All notes of this machine, or container, by path."""
    try:
        found = sorted(folder().glob("*.json"))
    except OSError:
        return {}
    return {path: record for path in found if (record := read(path)) and not record.elsewhere}


def start_again(path: Path) -> None:
    """Replace this process by the worker that left this note. Raises FileNotFoundError, OSError.

    TMUX and TMUX_PANE are kept from the current pane.
    """
    record = read(path)
    if record is None:
        raise FileNotFoundError(2, "there is no such note", str(path))
    path.unlink(missing_ok=True)
    inside = {name: value for name in ("TMUX", "TMUX_PANE") if (value := os.environ.get(name))}
    with suppress(OSError):  # if the folder is gone, the worker reports that
        os.chdir(record.cwd)
    os.execve(record.argv[0], record.argv, {**record.environ, **inside})  # noqa: S606 - an argument list, no shell
