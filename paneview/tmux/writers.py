"""The programs that write panes' output into the spool: GNU split or, where there is none, cat.

tmux starts one for each pane, as a child of its server, and does not tell its pid. Which run it writes for only its
arguments show, by the run's spool prefix; those of cat show nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Collection
from pathlib import Path

from paneview.proc import ProcessId, ProcessTable, command_line, send

PART = "16m"  # the size of a file
_NAMES = ("split", "cat", "sh")


def find_split() -> str | None:
    """The path of GNU split, the only one with numeric suffixes; None on other systems."""
    path = shutil.which("split")
    if path is None:
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=10)
    return path if "GNU" in done.stdout else None


def writer(prefix: Path, first: int, split: str | None) -> str:
    """The shell command that tmux pipes output into; ``split`` is the path of GNU split, None if there is none.

    split writes what it reads immediately, at 42 MB/s with 0.2 MB of memory, and begins new files so that
    ingested ones can be removed. The path is ours, but quoted anyway.
    """
    path = shlex.quote(str(prefix))
    if split is None:
        return f"umask 077; exec cat > {path}{first:06d}"
    return f"umask 077; exec {shlex.quote(split)} -b {PART} -a 6 --numeric-suffixes={first} - {path}"


class Writers:
    """Finds the writers among the children of one tmux server. ``split`` is the path of GNU split, if there is one."""

    def __init__(self, server: int, split: str | None) -> None:
        self.split = split
        self._server = server
        self._files: dict[ProcessId, str] = {}  # what each writes to, because a look is at those of all tasks

    def end(self, spool_prefixes: Collection[Path]) -> None:
        """End the writers of ended runs, which tmux would keep as long as the dead pane exists.

        What a writer has not read yet is lost, so call this only once all the run's output has arrived.
        """
        send(signal.SIGTERM, [process for process, _ in self._to(spool_prefixes)])

    def writing_nowhere(self, spool_prefixes: Collection[Path]) -> set[Path]:
        """Those of the prefixes whose writer has a removed file open, so that its further output would be lost."""
        return {prefix for process, prefix in self._to(spool_prefixes) if _has_removed_file(process.pid)}

    def missing(self, spool_prefixes: Collection[Path]) -> set[Path]:
        """Those of the prefixes without a writer, whatever tmux says: the user may have piped the pane elsewhere."""
        if self.split is None:
            return set()  # cat's arguments do not show what it writes to
        return set(spool_prefixes) - {prefix for _, prefix in self._to(spool_prefixes)}

    def _to(self, spool_prefixes: Collection[Path]) -> list[tuple[ProcessId, Path]]:
        """The writers to these prefixes, each with its own."""
        rows = ProcessTable.recent().rows.values()
        alive = [
            ProcessId(row.pid, row.start) for row in rows if row.ppid == self._server and row.name in _NAMES
        ]
        self._files = {one: self._files.get(one) or _file_of(one.pid) for one in alive}
        names = {prefix.name: prefix for prefix in spool_prefixes}
        found = [(one, file, names.get(_name_in(file))) for one, file in self._files.items()]
        return [(one, prefix) for one, file, prefix in found if prefix and str(prefix) in file]


def _file_of(pid: int) -> str:
    """The file or prefix a writer writes to: its last argument; empty if it is gone."""
    return "".join(command_line(pid)[-1:])


def _name_in(file: str) -> str:
    """The common prefix of a run's spool file names, over all its attachments: "12."."""
    return file.rpartition("/")[2].partition(".")[0] + "."


def _has_removed_file(pid: int) -> bool:
    """Whether a process has a removed file open; works only on Linux."""
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.readlink(f"{folder}/{number}").endswith(" (deleted)") for number in os.listdir(folder))
    except OSError:
        return False
