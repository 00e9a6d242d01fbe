"""Starting a supervisor and waiting until it answers; ``--serve``, ``daemon`` and the screen.

A supervisor is ``paneview --serve`` in the window "paneview" of the project's tmux session. It gets the
caller's environment through a file that only the user can read, since everyone can see arguments and a tmux
server passes on its own environment. A second such file, the report, says how the start went: it tells a
supervisor that is still starting from one that has died, so that nobody waits ten seconds for a dead one.

When two callers start one at once, both launch a process; one process gets the project's lock, the other ends
silently, and both callers find the same supervisor listening.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paneview.cli import place
from paneview.cli.errors import FAILED, USAGE, CliError, UsageError
from paneview.cli.loading import load
from paneview.cli.output import clean, print_json
from paneview.config import locate, paths
from paneview.control.errors import ControlError, NoSupervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paneview.cli.parser import Call
    from paneview.config.models import Project

DEADLINE = 10.0  # seconds for a supervisor to answer; adopting two hundred tasks takes a fraction of one
POLL = 0.004
PATIENCE = 0.3  # seconds for another supervisor, which holds the lock, to answer; then ours is started again
LOG_LINES = 8


class Launch:
    """A supervisor that is starting; `wait` returns when it listens."""

    def __init__(self, here: place.Place, project: Project, folder: Path, *, idle: bool) -> None:
        self._here = here
        self._folder = folder
        self._log = paths.supervisor_log(folder)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        stem = f"launch-{os.getpid()}"
        self._report = _private_file(folder / f"{stem}.report", b"")
        self._environment = _private_file(
            folder / f"{stem}.env", json.dumps(dict(os.environ), ensure_ascii=True).encode()
        )
        from paneview.tmux import launch  # noqa: PLC0415

        try:
            launch.start_window(
                project.name,
                self._argv(idle),
                socket=project.tmux.socket,
                project_key=paths.project_key(project.file),
                environ=os.environ,
                cwd=project.root,
            )
        except BaseException:
            self._clear()
            raise

    def _argv(self, idle: bool) -> list[str]:
        # -P: we start in the project's folder, and none of its modules must be imported instead of ours.
        argv = [sys.executable, "-P", "-m", "paneview", "--serve", *(["--idle"] if idle else [])]
        argv += ["--env-from", str(self._environment), "--report", str(self._report)]
        return [*argv, "--file", self._here.file]

    def wait(self, end: float) -> bool:
        """Wait until a supervisor answers; False if ours gave way to another one, which does not answer either.

        That other one is just ending, or still starting. Raises CliError, with the end of its log, if ours has failed
        or the monotonic clock is past `end`.
        """
        ended: float | None = None
        try:
            while not self._answers():
                now = time.monotonic()
                if now > end:
                    raise self._failure(f"the supervisor did not answer within {DEADLINE:g} s", FAILED)
                if self._gave_way():
                    ended = ended or now
                    if now - ended > PATIENCE:
                        return False
                time.sleep(POLL)
        finally:
            self._clear()
        return True

    def _answers(self) -> bool:
        try:
            self._here.hello()
        except (NoSupervisor, ControlError):
            return False
        return True

    def _gave_way(self) -> bool:
        """Whether our supervisor has ended because another one runs already. Raises CliError if it has failed."""
        report = _read_report(self._report)
        status = report.get("status")
        if status:
            raise self._failure("the supervisor could not start", int(status), report.get("error"))
        if status is None and "pid" in report and not _exists(int(report["pid"])) and not self._answers():
            raise self._failure("the supervisor died while it started", FAILED)
        return status is not None

    def _failure(self, message: str, status: int, error: str | None = None) -> CliError:
        words = f": {error}" if error else ""
        if self._log.exists():
            with self._log.open("rb") as log:
                log.seek(min(self._log_start, self._log.stat().st_size))
                lines = log.read().decode("utf-8", "replace").splitlines()
            words += "".join(f"\n{line}" for line in lines[-LOG_LINES:])
        return CliError(f"{message}{words}", status, f"its log: {self._log}", code="supervisor")

    def _clear(self) -> None:
        for path in (self._report, self._environment):
            path.unlink(missing_ok=True)


def start_supervisor(here: place.Place, *, idle: bool) -> None:
    """Start a supervisor for this project and wait until it answers; `idle`: it starts no task by itself.

    First checks what would keep it from starting, so that the error is raised here. Raises TmuxError (tmux is missing,
    too old, or a session of the project's name is someone else's), ConfigError, OSError, CliError.
    """
    from paneview.config.load import load_project  # noqa: PLC0415
    from paneview.tmux import launch  # noqa: PLC0415

    launch.check_version()
    project = load_project(Path(here.file), os.environ)
    folder = paths.make_project_dir(project.file, project.name)
    end = time.monotonic() + DEADLINE
    while not Launch(here, project, folder, idle=idle).wait(end):
        pass


def daemon(call: Call) -> int:
    """Make sure that a supervisor runs, with the WebSocket API if that was asked for, and print which one."""
    here = place.find(call)
    port = call.count("port")
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"--port needs a port from 1 to 65535, not {port}")
    action = "running"
    try:
        hello = here.hello()
    except NoSupervisor:
        start_supervisor(here, idle=True)
        hello = here.hello()
        action = "started"
    web = here.ask("websocket", {"port": port})
    if call.json:
        told = {"websocket": web["url"], "token_file": web["token_file"]}
        print_json({"ok": True, "action": action, **hello, **told})
        return 0
    was = "has been started" if action == "started" else "was running already"
    print(f"the supervisor of {clean(hello['session'])} (pid {hello['pid']}) {was}")
    if web["url"]:
        print(f"WebSocket API: {web['url']} (the token is in {clean(web['token_file'])})")
    return 0


def open_screen(call: Call) -> int:
    """``paneview [FILE]``: the screen; or with ``--serve`` the supervisor itself."""
    word = call.words[0] if call.words else None
    if word is not None and not os.path.exists(word) and not call.flag("serve"):
        from paneview.cli.verbs import PARSER  # noqa: PLC0415 - only needed for the error

        raise PARSER.unknown(word)
    here = place.find(call, word)
    if call.flag("serve"):
        return _serve(call, here)
    if call.json:
        raise CliError("the screen prints no JSON; 'paneview status --json' does", USAGE)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CliError("the screen needs a terminal; 'paneview status' and 'paneview start' do not", USAGE)
    load("paneview.tui.app")
    from paneview.tui.app import run  # noqa: PLC0415 - loaded above

    try:
        here.hello()
        start = None
    except NoSupervisor:
        _prepare(here)
        start = partial(start_supervisor, here, idle=False)
    assert here.folder is not None
    named = call.text("file")
    return run(Path(locate.control_socket(here.folder)), paths.state_home(), start=start, named=named)


def _prepare(here: place.Place) -> None:
    """Make sure that the project has a state folder, so that the screen can be drawn while a supervisor starts."""
    if here.folder is None:
        from paneview.config.load import load_project  # noqa: PLC0415

        project = load_project(Path(here.file), os.environ)
        here.folder = str(paths.make_project_dir(project.file, project.name))


def _serve(call: Call, here: place.Place) -> int:
    environment, report = call.text("env-from"), call.text("report")
    told = Path(report) if report else None
    _write_report(told, {"pid": os.getpid()})
    try:
        load("paneview.supervisor.serve")
        from paneview.supervisor.serve import serve  # noqa: PLC0415 - loaded above

        # Frozen objects do not count as old ones, so full collections would run again and again: a quarter of all work
        # while a hundred tasks start. There is little garbage that only the collector finds.
        gc.set_threshold(20_000, 20, 20)
        status = serve(
            Path(here.file),
            env_from=Path(environment) if environment else None,
            start_all=not call.flag("idle"),
        )
    except Exception as error:
        _write_report(
            told, {"pid": os.getpid(), "status": FAILED, "error": f"{type(error).__name__}: {error}"}
        )
        raise
    _write_report(told, {"pid": os.getpid(), "status": status})
    return status


def _private_file(path: Path, content: bytes) -> Path:
    path.unlink(missing_ok=True)  # left by a killed process that had this id
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return path


def _write_report(path: Path | None, report: Mapping[str, Any]) -> None:
    """Report to the caller, if there is one that still waits: it removes the file once it has its answer."""
    if path is None:
        return
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "w") as file:
            json.dump(report, file)


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(path.read_bytes() or b"{}")
    except ValueError:  # it is being written
        return {}
    return report


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
