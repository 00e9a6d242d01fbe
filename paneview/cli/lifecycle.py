"""Verbs that change what runs: start, stop, restart, kill, scale, reload, down."""

from __future__ import annotations

import os
import select
import time

from paneview.cli import place
from paneview.cli.errors import FAILED, CliError, UsageError
from paneview.cli.output import clean, complain, print_json
from paneview.cli.parser import DIGITS
from paneview.control.errors import ControlError, NoSupervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from paneview.cli.parser import Call

LAST_WORDS = 10.0  # seconds that a supervisor may take to end
# The supervisor was just ending: then the next one is asked, since starting a task twice starts it once.
_ENDING = {"closing", "disconnected"}
NOTHING = (
    "nothing to start by itself: auto_start is false for the project or for each task; name those to start"
)


def start(call: Call) -> int:
    """Start tasks, and a supervisor if none runs."""
    here = place.find(call)
    try:
        return _start(call, here)
    except (NoSupervisor, ControlError) as error:
        if isinstance(error, ControlError) and error.code not in _ENDING:
            raise
    from paneview.cli.launch import start_supervisor  # noqa: PLC0415

    _check_names(here, call.words)
    start_supervisor(here, idle=True)
    return _start(call, here)


def _check_names(here: place.Place, words: list[str]) -> None:
    """Raise CliError for a name that the file does not have: a misspelt one leaves no supervisor behind."""
    if not words:
        return
    from pathlib import Path  # noqa: PLC0415

    from paneview.cli.errors import unknown_task  # noqa: PLC0415
    from paneview.config.load import load_project  # noqa: PLC0415

    known = {task.base_name for task in load_project(Path(here.file), os.environ).tasks.values()}
    for word in words:
        # How many replicas there are now, only the supervisor knows.
        if word not in known and not (word.rpartition(".")[0] in known and word.rpartition(".")[2].isdigit()):
            raise unknown_task(word, known)


def _start(call: Call, here: place.Place) -> int:
    args = {"tasks": call.words or None, "deps": not call.flag("no-deps")}
    monitor, wait = call.flag("monitor"), call.flag("wait")
    if monitor and wait:
        raise UsageError("--wait returns, --monitor stays; give one of them")
    if not (monitor or wait):
        return print_reply(call, _ask(here, "start", args), NOTHING)
    if wait:
        from paneview.cli import ready  # noqa: PLC0415

        with here.connect() as connection:
            reply = _also_of_some(lambda: connection.call("start", args))
            failed = any(not result["ok"] for result in reply["results"])
            if failed or not call.json:
                status = print_reply(call, reply, NOTHING)
            return status if failed else ready.wait(call, connection, reply)
    from paneview.cli.events import show  # noqa: PLC0415

    with here.connect() as connection:
        # Subscribe before starting, so that the first events of each task are shown as well.
        connection.call("subscribe", {"topics": ["events"]})
        reply = _also_of_some(lambda: connection.call("start", args))
        try:
            print_reply(call, reply, NOTHING)
            show(connection, as_json=call.json)
        except KeyboardInterrupt:
            pass
    return 0


def stop(call: Call) -> int:
    """Stop tasks and keep them stopped."""
    return _act(call, "stop", "no task is running")


def restart(call: Call) -> int:
    """Stop and start tasks again."""
    return _act(call, "restart", "no task is running")


def kill(call: Call) -> int:
    """SIGKILL tasks."""
    return _act(call, "kill", "no task is running")


def scale(call: Call) -> int:
    """Set the number of a task's replicas."""
    name, number = call.words
    if not (number.isascii() and number.isdigit()):
        raise UsageError(f"'scale' needs a whole number of replicas, not {number!r}")
    if len(number) > DIGITS:
        raise UsageError(f"'scale' needs a whole number of at most {DIGITS} digits")
    reply = place.find(call).ask("scale", {"task": name, "replicas": int(number)}, timeout=None)
    print_reply(call, {"task": name, "action": "scaled", **reply}, "")
    return 0


def reload(call: Call) -> int:
    """Take over the changed configuration file."""
    reply = place.find(call).ask("reload", timeout=None)
    if call.json:
        print_json({"ok": True, "action": "reloaded", **reply})
        return 0
    changes = [
        f"{what.replace('_', ' ')}: {', '.join(clean(name) for name in names)}"
        for what, names in reply.items()
        if isinstance(names, list) and names
    ]
    print("reloaded; " + ("; ".join(changes) or "nothing changed"))
    return 0


def down(call: Call) -> int:
    """Stop everything, the supervisor included; returns when it is gone.

    If a killed supervisor left something behind, another one is started to stop and remove it.
    """
    here = place.find(call)
    try:
        here.hello()
    except NoSupervisor as nobody:
        _take_charge_of_what_is_left(here, nobody)
    with here.connect() as connection:
        pid = int(connection.call("hello")["pid"])
        gone = _watch(pid)
        reply = connection.call("down")
        connection.wait_closed()
    if not gone():
        raise CliError(
            f"everything is stopped, but the supervisor (process {pid}) has not ended within {LAST_WORDS:g} s",
            hint=f"supervisor.log in {here.folder} may say why; 'kill -9 {pid}' ends it",
        )
    if call.json:
        print_json({"ok": True, "action": "down", **reply})
    else:
        print("everything is stopped, and the supervisor has ended")
    return 0


def _take_charge_of_what_is_left(here: place.Place, nobody: NoSupervisor) -> None:
    """Start a supervisor for tasks or a session left without one; raise `nobody` if nothing is left.

    Even a session alone needs one: it knows which panes are ours, and that the project's next start is a fresh one.
    """
    from paneview.cli.launch import start_supervisor  # noqa: PLC0415
    from paneview.cli.offline import stored_status  # noqa: PLC0415

    if not stored_status(here.file, here.folder)["active_tasks"] and not _has_session(here):
        raise nobody
    start_supervisor(here, idle=True)


def _has_session(here: place.Place) -> bool:
    """Whether the project's tmux session exists."""
    from pathlib import Path  # noqa: PLC0415

    from paneview.config import paths  # noqa: PLC0415
    from paneview.config.load import load_project  # noqa: PLC0415
    from paneview.tmux.errors import SessionTaken, TmuxMissing  # noqa: PLC0415
    from paneview.tmux.launch import find_session  # noqa: PLC0415

    project = load_project(Path(here.file), os.environ)
    try:
        return find_session(project.name, project.tmux.socket, paths.project_key(project.file)) is not None
    except (SessionTaken, TmuxMissing):
        return False


def _watch(pid: int) -> Callable[[], bool]:
    """A function that waits for the process to end, for `LAST_WORDS` seconds at most, and returns whether it has.

    A dead process whose parent (tmux) died as well keeps its pid until it is reaped. So it is watched by pidfd where
    the system has them, and only elsewhere by whether the pid exists.
    """
    try:
        watched = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return lambda: _until_unknown(pid)

    def wait() -> bool:
        ended = select.select([watched], [], [], LAST_WORDS)[0]
        os.close(watched)
        return bool(ended)

    return wait


def _until_unknown(pid: int) -> bool:
    end = time.monotonic() + LAST_WORDS
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except OSError:
            return True
        time.sleep(0.002)
    return False


def _act(call: Call, do: str, nothing: str) -> int:
    return print_reply(call, _ask(place.find(call), do, {"tasks": call.words or None}), nothing)


def _ask(here: place.Place, do: str, args: dict[str, Any]) -> dict[str, Any]:
    return _also_of_some(lambda: here.ask(do, args, timeout=None))


def _also_of_some(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The reply, even if it failed for some of the tasks, so that the others are reported as well."""
    try:
        return ask()
    except ControlError as error:
        if error.code != "failed" or not error.extra.get("results"):
            raise
        return {**error.extra, "code": error.code}


def print_reply(call: Call, reply: dict[str, Any], nothing: str) -> int:
    """Print a reply with results; returns the exit status, 1 if one of them is a failure."""
    results: list[dict[str, Any]] = reply.get("results") or []
    failed = [result for result in results if not result.get("ok", True)]
    if call.json:
        one = results[0] if len(call.words) == 1 and len(results) == 1 else {}
        alone = {key: one[key] for key in ("task", "action") if key in one}
        error = {"error": "; ".join(str(result.get("error")) for result in failed)} if failed else {}
        print_json({"ok": not failed, **error, **alone, **reply})
    else:
        _print_results(reply, results, nothing)
        if words := reply.get("unrecorded"):
            complain(f"done, but not recorded: {words}")
    return FAILED if failed else 0


def _print_results(reply: dict[str, Any], results: list[dict[str, Any]], nothing: str) -> None:
    waiting: dict[str, list[str]] = reply.get("waiting") or {}
    already: list[str] = reply.get("already") or []
    by_word: dict[str, list[str]] = {}
    for result in results:
        name = clean(result.get("task"))
        if not result.get("ok", True):
            complain(f"{name}: {result.get('error')}")
        elif name in already:
            by_word.setdefault("running already", []).append(name)
        elif name in waiting:
            by_word.setdefault(f"waits for {', '.join(waiting[name])}", []).append(name)
        else:
            by_word.setdefault(str(result.get("action")), []).append(name)
    for word, names in by_word.items():
        print(f"{word}: {', '.join(names)}")
    if not results:
        print(nothing if "task" not in reply else f"{clean(reply['task'])}: {clean(reply.get('action'))}")
