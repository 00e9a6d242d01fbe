"""The tmux commands that put a task into a pane, and parsing what tmux reports about panes.

Everything about a new pane is one group of commands: tmux runs it without handling the task's output or
death in between, so the log has the first and the last line, and no task dies before ``remain-on-exit`` holds
its pane.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from paneview.proc import MARKER
from paneview.tmux.errors import CannotSpawn
from paneview.tmux.guard import guard_argv
from paneview.tmux.quote import command, literal_format, literal_job
from paneview.tmux.writers import writer

# A run's files are numbered from 0; a pipe that is attached again begins at the next multiple of this.
PIPE_NUMBERS = 1000
# Linux's limit on a single argument or variable, its NUL included (MAX_ARG_STRLEN in execve(2)).
_LONGEST = 32 * os.sysconf("SC_PAGE_SIZE")
_RENAMING = ("automatic-rename", "allow-rename")
# A user's hooks for dying panes and renamed windows would act on ours (`set-hook -g pane-died kill-pane`).
_HOOKS = ("pane-died", "pane-exited", "window-renamed", "window-layout-changed")
# The last field may contain anything.
_FIELDS = [
    "pane_id",
    "window_id",
    "pane_pid",
    "session_id",
    "pane_dead",
    "pane_pipe",
    "@paneview_run",
    "@paneview_pipes",
    "pane_dead_status",
    "pane_dead_signal",
    "@paneview_definition",
    "@paneview_task",
]
PANE_FORMAT = "\t".join("#{" + name + "}" for name in _FIELDS)


@dataclass(frozen=True, slots=True)
class SpawnSpec:
    """One run of a task, as a pane."""

    task: str
    run: int
    command: str
    """For ``sh -c``."""
    cwd: Path
    spool_prefix: Path
    """Output goes to files named by this path and six digits; the folder must exist."""
    exit_file: Path
    """The guard writes the exit code here; the folder must exist."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables that differ from the session's environment."""
    window_name: str = ""
    """Empty: the task's name."""
    definition: str = ""
    """Information about the run for a later supervisor that finds it; without tabs and line breaks."""


@dataclass(frozen=True, slots=True)
class PaneInfo:
    """One of our panes as tmux reports it."""

    pane_id: str
    window_id: str
    task: str
    run: int
    pid: int
    """The guard's pid; in a dead pane it is kept, or 0 from tmux 3.8 on."""
    dead: bool = False
    """tmux has read all output and passed it on; the exit status may still be missing."""
    status: int | None = None
    signal: str | None = None
    """The signal's name without SIG, or its number."""
    piped: bool = True
    """Whether output still goes to the spool; only meaningful while the pane is alive."""
    pipes: int = 1
    """How many pipes this run has had."""
    definition: str = ""
    """From its `SpawnSpec`; empty in a pane of an older version."""
    session_id: str = field(default="", compare=False)
    """The session it is in now: the user may have moved it into another one."""
    project: str = field(default="", compare=False)
    """The key of the project that started its run; empty in a pane of an older version."""


def folder_trouble(cwd: Path) -> str:
    """Why nothing can run in this folder; empty if it can."""
    # Called for every run, so without Path, which takes three times as long.
    try:
        if not stat.S_ISDIR(os.stat(cwd).st_mode):
            return f"{cwd} is not a folder"
    except FileNotFoundError:
        return f"the folder {cwd} does not exist"
    except OSError as error:
        return f"the folder {cwd} cannot be reached: {error.strerror}"
    return "" if os.access(cwd, os.X_OK) else f"the folder {cwd} may not be entered"


def check_spec(spec: SpawnSpec) -> None:
    """Raise CannotSpawn if tmux would silently use another folder, start nothing or lose the output."""
    if trouble := folder_trouble(spec.cwd):
        raise CannotSpawn(trouble)
    for folder in (spec.spool_prefix.parent, spec.exit_file.parent):
        if not os.path.isdir(folder):
            raise CannotSpawn(f"the folder does not exist: {folder}")
    for what, text in (
        ("the command", f"exec {spec.command}"),
        *((f"${key}", f"{key}={spec.env[key]}") for key in spec.env),
    ):
        _check_length(what, text)


def _check_length(what: str, text: str) -> None:
    if len(text) * 4 >= _LONGEST and (size := len(os.fsencode(text)) + 1) > _LONGEST:
        raise CannotSpawn(
            f"{what} is too long for the system: {size} bytes, where a program is given at most {_LONGEST}; "
            "put it into a file"
        )


def spawn_group(session_id: str, spec: SpawnSpec, marker: str, split: str | None) -> list[str]:
    """The commands that create a window for ``spec``; the first one's answer is for `parse_spawned`."""
    end = f"{session_id}:{{end}}"
    name = literal_format(spec.window_name or spec.task)
    make = ["new-window", "-d", "-a", "-t", end, "-P", "-F", PANE_FORMAT, "-n", name]
    return [
        command(*make, *_process(spec, marker)),
        command("set-option", "-w", "-t", end, "remain-on-exit", "on"),
        *(command("set-option", "-w", "-t", end, option, "off") for option in _RENAMING),
        *(command("set-option", "-q", "-w", "-t", end, hook, "") for hook in _HOOKS),
        command("set-option", "-p", "-t", end, "@paneview_task", spec.task),
        *_run_group(end, spec, marker, split),
    ]


def respawn_group(pane_id: str, spec: SpawnSpec, marker: str, split: str | None) -> list[str]:
    """The commands that start ``spec`` in one of our existing panes."""
    return [
        command("respawn-pane", "-k", "-t", pane_id, *_process(spec, marker)),
        *_run_group(pane_id, spec, marker, split),
        command("display-message", "-p", "-t", pane_id, PANE_FORMAT),
    ]


def pipe_group(target: str, prefix: Path, count: int, split: str | None) -> list[str]:
    """The commands that send a pane's output to the spool, as its ``count``-th pipe in this run (from 1)."""
    first = (count - 1) * PIPE_NUMBERS
    return [
        command("pipe-pane", "-t", target, literal_job(writer(prefix, first, split))),
        command("set-option", "-p", "-t", target, "@paneview_pipes", str(count)),
    ]


def define(target: str, definition: str) -> str:
    """The command that stores a run's definition in its pane's options."""
    return command("set-option", "-p", "-t", target, "@paneview_definition", definition)


def parse_pane(line: str) -> PaneInfo | None:
    """Parse one line of `PANE_FORMAT`; None for a pane that is not a task's."""
    pane, window, pid, session, dead, pipe, marker, pipes, status, signal, definition, task = line.split(
        "\t", len(_FIELDS) - 1
    )
    project, _, run = marker.rpartition("-")
    if not task or not run.isdecimal():
        return None
    return PaneInfo(
        pane_id=pane,
        window_id=window,
        task=task,
        run=int(run),
        pid=int(pid or 0),
        dead=dead == "1",
        status=int(status) if status.isdecimal() else None,
        signal=signal or None,
        piped=pipe == "1",
        pipes=int(pipes) if pipes.isdecimal() else 1,
        definition=definition,
        session_id=session,
        project=project,
    )


def parse_spawned(line: str, spec: SpawnSpec) -> PaneInfo:
    """Parse the answer of ``new-window``, given before the pane had its options."""
    pane, window, pid = line.split("\t")[:3]
    return PaneInfo(
        pane_id=pane,
        window_id=window,
        task=spec.task,
        run=spec.run,
        pid=int(pid),
        definition=spec.definition,
    )


def _run_group(target: str, spec: SpawnSpec, marker: str, split: str | None) -> list[str]:
    return [
        *pipe_group(target, spec.spool_prefix, 1, split),
        command("set-option", "-p", "-t", target, "@paneview_run", marker),
        define(target, spec.definition),
    ]


def _process(spec: SpawnSpec, marker: str) -> list[str]:
    """The arguments about the pane's process: its folder, its environment, and its command line."""
    env = {**spec.env, MARKER: marker}
    variables = [part for key, value in env.items() for part in ("-e", f"{key}={value}")]
    return ["-c", literal_format(str(spec.cwd)), *variables, "--", *guard_argv(spec.command, spec.exit_file)]
