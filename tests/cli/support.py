"""Running the command line as a user does, in a folder of a project.

Most tests of commands are about what a command does and says. They run it in the test's own process (`run`): the same
`main`, with files as its three streams and the real project, supervisor, tmux and queue behind it, but without the
tenth to third of a second that Python and the imports take each time, which was a third of the whole suite. Tests about
the program as a process (signals, terminals, pipes, imports, what a shell sees) run it in one of its own (`apart`), and
so does one test of every command: `tests/cli/test_live.py`, `tests/cli/test_apart.py`, `tests/test_readme.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import msgspec

from paneview.cli import main
from paneview.cli.shapes import SHAPES, Failure
from paneview.config import locate
from paneview.config.jsonschema import json_schema
from paneview.control.blocking import call
from paneview.control.errors import ControlError, NoSupervisor
from tests import prepared
from tests.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

COMMAND = (sys.executable, "-P", "-m", "paneview")
STREAMS = ("stdin", "stdout", "stderr")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be a single JSON object."""
        value: dict[str, Any] = json.loads(self.out)
        return value


def check_shape(shape: type[msgspec.Struct], found: Mapping[str, Any]) -> None:
    """Fail unless `found` is of this shape: no key but those declared, each value of its type."""
    msgspec.convert(found, shape)
    ok = json_schema(shape)["properties"].get("ok", {})
    assert found.get("ok") is ok.get("const", found.get("ok"))


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The test's environment, but with bytecode written: otherwise each command would compile paneview anew."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}


def run(*args: str, cwd: Path, env: Mapping[str, str] | None = None, text: str | None = None) -> Done:
    """Run ``paneview`` with these arguments in this process, as one of its own would; `env` adds to the environment.

    Not for commands that read a terminal, go on until Ctrl-C, or become another program. A process has only one folder
    and one output, so a command that is run from another thread runs `apart`.
    """
    if threading.current_thread() is not threading.main_thread():
        return apart(*args, cwd=cwd, env=env, text=text)
    with _standing_in(cwd, env or {}), _streams(text or "") as (out, err):
        status = main(args)
        sys.stdout.flush()
        sys.stderr.flush()
        return Done(status, _whole(out), _whole(err))


def apart(*args: str, cwd: Path, env: Mapping[str, str] | None = None, text: str | None = None) -> Done:
    """Run ``paneview`` with these arguments in a process of its own, and wait for it."""
    done = subprocess.run(
        [*COMMAND, *args],
        cwd=cwd,
        env=environment(env),
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def forked(*args: str, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run ``paneview`` with these arguments in a process that has imported it already (see `tests.prepared`)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = prepared.start(*args, cwd=cwd, env=environment(env), out=out, err=err)
        status = process.wait(45)
        return Done(status, _whole(out), _whole(err))


def ask(project: Path, *args: str, status: int = 0, how: Callable[..., Done] = run) -> dict[str, Any]:
    """Run a command with --json, check its exit status and its output's shape, and return the object."""
    done = how(*args, "--json", cwd=project)
    assert done.status == status, done.out + done.err
    assert done.err == ""
    check_shape(SHAPES[args[0]] if status == 0 else Failure, done.json)
    return done.json


async def arun(*args: str, cwd: Path, env: dict[str, str] | None = None) -> Done:
    """`apart` for tests whose own event loop has to go on meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *args,
        cwd=cwd,
        env=environment(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


def supervise(folder: Path, *, unless_there_is_one: bool = False) -> None:
    """Start a supervisor that starts no task by itself, as `start` does if none runs, but quicker.

    It is forked (see `tests.prepared`), and so not among the processes with the test's marker.
    """
    said = folder.parent / f"{folder.name}.served"
    with said.open("ab") as out:
        process = prepared.start("--serve", "--idle", cwd=folder, env=environment(), out=out)
    wait_until(lambda: _answers(folder, process.pid) or process.poll() is not None)
    assert process.poll() is None or (unless_there_is_one and process.poll() == 0), said.read_text()


def _answers(folder: Path, pid: int) -> bool:
    """Whether this process supervises the project in this folder."""
    file = locate.find_file(os.fspath(folder))
    assert file
    state = locate.find_project_dir(file)
    try:
        return state is not None and call(locate.control_socket(state), "hello", {})["pid"] == pid
    except (NoSupervisor, ControlError):
        return False


@contextmanager
def _standing_in(folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    before, variables = os.getcwd(), dict(os.environ)
    os.chdir(folder)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(before)


@contextmanager
def _streams(text: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Replace the standard streams, Python's and the process's own, by files; gives those of the output."""
    kept = [(os.dup(number), getattr(sys, name)) for number, name in enumerate(STREAMS)]
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in STREAMS]
        files[0].write(text.encode())
        files[0].seek(0)
        try:
            for number, name in enumerate(STREAMS):
                os.dup2(files[number].fileno(), number)
                stream = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
                setattr(sys, name, stack.enter_context(stream))
            yield files[1], files[2]
        finally:
            for number, (descriptor, stream) in enumerate(kept):
                setattr(sys, STREAMS[number], stream)
                os.dup2(descriptor, number)
                os.close(descriptor)


def _whole(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
