"""Blocking helpers that run single tmux processes: version check, creating the session, attaching to a window.

For the command line, so nothing heavy is imported. Commands that contain data go through ``source-file -``:
arguments are visible in the process list and limited to 16 KB by tmux; standard input is neither.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from paneview.tmux.errors import SessionTaken, TmuxError, TmuxMissing, TmuxSilent, TmuxTooOld
from paneview.tmux.quote import command, literal_format
from paneview.tmux.server import socket_source, tmux_argv, tmux_env

# 3.2a knows no signal that a pane died of, which is all there is to know of a run that was killed with its guard; it
# runs users' hooks that are off in our session, and makes the windows of a session that nobody sees 80x23.
MINIMUM = "3.3a"
HUB_WINDOW = "paneview"
# Wide, so that what programs fit to their terminal reaches the log whole; no higher than tmux itself makes a session
# that nobody looks at, since each row costs: two million lines in 50 rows take tmux an eighth longer.
WIDTH, HEIGHT = 200, 24
PROJECT_OPTION = "@paneview_project"
_INSTALL = "apt-get install tmux / brew install tmux"
_TIMEOUT = 30  # seconds; a tmux process takes 3 ms
_CREATED = "#{session_id} #{pid} #{window_id} #{pane_id}"
_UNMADE = re.compile(r"error creating (.+) \((.+)\)$", re.MULTILINE)
_ATTEMPTS = 3  # to open a window in an existing session
# Variables that we set in each pane, that tmux sets, or that are valid only in the caller's own terminal.
PRIVATE = frozenset(
    {"TMUX", "TMUX_PANE", "TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "PANEVIEW_RUN", "COLUMNS", "LINES"}
    | {"PWD", "OLDPWD", "SHLVL", "SHELL", "_"}
)
# Those of them that a pane may inherit from the tmux server.
_KEPT = PRIVATE - {"PANEVIEW_RUN", "COLUMNS", "LINES"}
# Options that a user's configuration may set for all sessions and that would harm a supervised one.
_OPTIONS = {
    "destroy-unattached": "off",  # the session stays when its last client leaves
    "detach-on-destroy": "on",  # our client must not end up in a session of the user
    "update-environment": "",  # tasks get the supervisor's environment, whoever attaches
    "renumber-windows": "off",
    "lock-after-time": "0",
}
# Hooks of the user that would run, often and unexpectedly, on events that we cause.
_HOOKS = [
    "session-created",
    "session-window-changed",
    "client-attached",
    "client-detached",
    "client-session-changed",
    "window-linked",
    "window-unlinked",
    "after-new-session",
    "after-new-window",
    "after-kill-pane",
    "after-set-option",
    "after-set-hook",
    "after-set-environment",
    "after-pipe-pane",
    "after-send-keys",
    "after-display-message",
    "after-list-panes",
    "after-capture-pane",
    "after-set-buffer",
    "after-paste-buffer",
    "after-show-environment",
]


class SessionRef(NamedTuple):
    """Our session in a tmux server."""

    session_id: str
    server_pid: int
    created: bool
    """Whether this call created it."""


def parse_version(text: str) -> tuple[int, int, str] | None:
    """``tmux 3.3a`` as (3, 3, "a"), ``next-3.5`` as (3, 5, ""); None for a development version without a number."""
    match = re.search(r"(\d+)\.(\d+)([a-z]?)", text)
    return (int(match[1]), int(match[2]), match[3]) if match else None


def check_version() -> str:
    """The installed tmux's version, such as "3.3a"; one process, 2 ms. Raises TmuxMissing, TmuxTooOld."""
    try:
        done = subprocess.run(["tmux", "-V"], capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except FileNotFoundError:
        raise TmuxMissing(f"tmux {MINIMUM} or newer is needed, found none: {_INSTALL}") from None
    shown = done.stdout.strip().removeprefix("tmux ").strip()
    found, least = parse_version(shown), parse_version(MINIMUM)
    assert least
    if found is not None and found < least:
        raise TmuxTooOld(f"tmux {MINIMUM} or newer is needed, found {shown}: {_INSTALL}")
    return shown


def run_tmux(socket: str | None, *arguments: str, script: str | None = None) -> str:
    """Run one tmux command, with a ``script`` as its standard input for ``source-file -``; returns the output.

    Raises TmuxError with tmux's own message, TmuxMissing, TmuxSilent.
    """
    try:
        done = subprocess.run(
            tmux_argv(socket, *arguments),
            input=os.fsencode(script) if script is not None else None,
            stdin=subprocess.DEVNULL if script is None else None,
            capture_output=True,
            check=False,
            env=tmux_env(os.environ),
            timeout=_TIMEOUT,
        )
    except FileNotFoundError:
        raise TmuxMissing(f"tmux {MINIMUM} or newer is needed, found none: {_INSTALL}") from None
    except subprocess.TimeoutExpired:
        raise TmuxSilent(
            f"the tmux server has not answered for {_TIMEOUT} s: it is stopped or overloaded"
        ) from None
    output = done.stdout.decode("utf-8", "replace").rstrip("\n")
    told = done.stderr.decode("utf-8", "replace").strip()
    # If tmux has no server and cannot start one, it only prints a message: its exit status is 0.
    if unmade := _UNMADE.match(told):
        raise TmuxError(
            f"tmux cannot make its socket {unmade[1]}, which {socket_source(socket)}: {unmade[2]}"
        )
    if done.returncode:
        # Errors in a sourced script begin with its name and line, which mean nothing to the user.
        text = re.sub(r"^-:\d+: ", "", told or output)
        raise TmuxError(text.replace("\n", "; ") or f"tmux exited with {done.returncode}", [output])
    return output


def find_session(name: str, socket: str | None, project_key: str) -> SessionRef | None:
    """Our session, even if the user has renamed it; None if there is none.

    Raises SessionTaken if there is none and a foreign session has the name.
    """
    try:
        listing = run_tmux(
            socket,
            "list-sessions",
            "-F",
            "#{session_id} #{pid} #{session_name}\t#{" + PROJECT_OPTION + "}",
        )
    except (TmuxMissing, TmuxSilent):
        raise
    except TmuxError:  # no server, or a server with no session
        return None
    ours: list[SessionRef] = []
    taken = False
    for line in filter(None, listing.split("\n")):  # a server that is just starting has no session yet
        head, _, owner = line.partition("\t")
        session_id, pid, shown = head.split(" ", 2)
        if owner == project_key:
            # If there should be two of ours, the one that still has the name comes first.
            ours.insert(0 if shown == name else len(ours), SessionRef(session_id, int(pid), created=False))
        taken = taken or shown == name
    if taken and not ours:
        raise SessionTaken(
            f"a tmux session named '{name}' exists and is not this project's: rename it"
            f" (tmux rename-session -t '={name}' NEWNAME) or give the project another name"
        )
    return ours[0] if ours else None


def ensure_session(
    name: str,
    socket: str | None,
    project_key: str,
    environ: Mapping[str, str],
    cwd: Path,
    hub: Sequence[str],
) -> SessionRef:
    """Our session, created with ``hub`` in its first window if there is none. Raises SessionTaken, TmuxError."""
    if found := find_session(name, socket, project_key):
        return found
    script = _creation(name, project_key, environ, cwd, hub, stale_variables(socket, environ))
    try:
        # One process starts the server if necessary and passes it the script.
        answer = run_tmux(socket, "start-server", ";", "source-file", "-", script=script)
    except TmuxError as error:
        if "duplicate session" in str(error) and (found := find_session(name, socket, project_key)):
            return found
        raise
    words = answer.split("\n", 1)[0].split()
    if len(words) != len(_CREATED.split()):
        raise TmuxError(
            f"tmux did not tell of the session '{name}' that it was to make: {answer or 'no word'}"
        )
    session_id, pid, window_id, pane_id = words
    # Anything else in a new session was put there by the user's hooks.
    run_tmux(socket, "kill-window", "-a", "-t", window_id, ";", "kill-pane", "-a", "-t", pane_id)
    return SessionRef(session_id, int(pid), created=True)


def start_window(
    name: str,
    argv: Sequence[str],
    *,
    socket: str | None,
    project_key: str,
    environ: Mapping[str, str],
    cwd: Path,
) -> SessionRef:
    """Run ``argv`` in a window "paneview" of our session, which is created if there is none.

    Raises SessionTaken, TmuxError, TmuxMissing. Does not wait for ``argv``.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        ref = ensure_session(name, socket, project_key, environ, cwd, argv)
        if ref.created:
            break
        end = f"{ref.session_id}:{{end}}"
        make = ["new-window", "-d", "-a", "-t", end, "-n", HUB_WINDOW, "-c", literal_format(str(cwd))]
        run = _without(stale_variables(socket, environ), argv)
        line = command(*make, *_environment(environ), "--", *run)
        try:
            run_tmux(socket, "source-file", "-", script=f"{line} ; {_window_options(end)}\n")
            break
        except TmuxSilent:
            raise
        except TmuxError:
            # The session may just have ended with its last window: then create it again.
            if attempt == _ATTEMPTS or find_session(name, socket, project_key) == ref:
                raise
    return ref


def stale_variables(socket: str | None, environ: Mapping[str, str]) -> list[str]:
    """Variables that a pane would inherit from the tmux server's environment and that ``environ`` does not have.

    They come from the environment in which the server happened to be started, and must be hidden from our panes.
    """
    try:
        listing = run_tmux(socket, "show-environment", "-g")
    except TmuxSilent:
        raise
    except TmuxError:
        return []
    return parse_stale(listing, environ)


def parse_stale(listing: str, environ: Mapping[str, str]) -> list[str]:
    """`stale_variables` from what ``show-environment -g`` printed."""
    names = re.findall(r"^([A-Za-z_][A-Za-z0-9_]*)=", listing, re.MULTILINE)
    ours = passed_on(environ)
    return [name for name in names if name not in ours and name not in _KEPT]


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of ``environ`` that the panes get."""
    return {key: value for key, value in environ.items() if key not in PRIVATE}


def attach_argv(
    session: str, socket: str | None, window_id: str | None, environ: Mapping[str, str]
) -> list[str]:
    """The command line that shows a session (and window) to the user, to be run in their terminal.

    ``session``: its id, or ``=NAME``. Inside the same tmux server, the user's client switches to it; inside another
    server, or outside tmux, it attaches.
    """
    target = f"{session}:{window_id or ''}"
    inside = environ.get("TMUX", "").split(",")[0]
    if inside:
        try:
            ours = run_tmux(socket, "display-message", "-p", "#{socket_path}")
        except TmuxError:
            ours = ""
        if os.path.realpath(ours) == os.path.realpath(inside):
            return tmux_argv(socket, "switch-client", "-t", target)
    # tmux refuses to attach inside another tmux unless these variables are hidden from it.
    return ["env", "-u", "TMUX", "-u", "TMUX_PANE", *tmux_argv(socket, "attach-session", "-t", target)]


def find_window(session_id: str, socket: str | None, task: str) -> str | None:
    """The id of the task's window in this session; None if it has none."""
    listing = run_tmux(socket, "list-panes", "-s", "-t", session_id, "-F", "#{window_id} #{@paneview_task}")
    rows = (line.partition(" ") for line in listing.split("\n"))
    return next((window for window, _, shown in rows if shown == task), None)


def _creation(
    name: str,
    project_key: str,
    environ: Mapping[str, str],
    cwd: Path,
    hub: Sequence[str],
    stale: Sequence[str],
) -> str:
    make = ["new-session", "-d", "-P", "-F", _CREATED]
    make += [
        "-s",
        name,
        "-n",
        HUB_WINDOW,
        "-x",
        str(WIDTH),
        "-y",
        str(HEIGHT),
        "-c",
        literal_format(str(cwd)),
    ]
    target = f"={name}:"
    # On the same line as the creation, so that the session is never visible without its owner.
    owned = [command(*make, *_environment(environ), "--", *_without(stale, hub))]
    owned += [command("set-option", "-t", target, PROJECT_OPTION, project_key)]
    owned += [command("set-option", "-q", "-t", target, *pair) for pair in _OPTIONS.items()]
    owned += [command("set-option", "-q", "-t", target, hook, "") for hook in _HOOKS]
    owned += [_window_options(target)]
    return " ; ".join(owned) + "\n"


def _window_options(target: str) -> str:
    # The layout's hook, before which a user's own that splits the window has run, from tmux 3.8 on ends what is in it.
    options = {
        "window-layout-changed": "",
        "remain-on-exit": "off",
        "automatic-rename": "off",
        "allow-rename": "off",
    }
    return " ; ".join(command("set-option", "-w", "-t", target, *pair) for pair in options.items())


def _environment(environ: Mapping[str, str]) -> list[str]:
    return [part for key, value in passed_on(environ).items() for part in ("-e", f"{key}={value}")]


def _without(stale: Sequence[str], argv: Sequence[str]) -> list[str]:
    """``argv`` run without these variables, which tmux itself can replace but not remove."""
    if not stale:
        return list(argv)
    return ["env", *(part for name in stale for part in ("-u", name)), *argv]
