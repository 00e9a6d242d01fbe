"""Running the command line as a user does, in a folder of a project.

Most tests of commands are about what a command does and says. They run it in the test's own process (`run`): the same
`main`, on files in the place of the three streams, with the real project, supervisor, tmux and queue behind it, but
without the tenth to third of a second that Python and the imports take each time: a third of the whole suite was that.
What is about the program as a process (signals, terminals, pipes, imports, what a shell sees) runs it in one of its
own (`apart`), and so does one test of every command: `tests/cli/test_live.py`, `tests/cli/test_apart.py`.
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
from paneview.config import locate
from paneview.config.jsonschema import json_schema
from paneview.control.blocking import call
from paneview.control.errors import ControlError, NoSupervisor
from tests import prepared
from tests.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
        """Standard output as the one JSON object it has to be."""
        value: dict[str, Any] = json.loads(self.out)
        return value


def check_shape(shape: type[msgspec.Struct], found: Mapping[str, Any]) -> None:
    """Fail unless `found` is of this shape: no key but those declared, each value of its type."""
    msgspec.convert(found, shape)
    ok = json_schema(shape)["properties"].get("ok", {})
    assert found.get("ok") is ok.get("const", found.get("ok"))


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The test's environment, in which Python keeps what it has compiled: else each command compiles us anew."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}


def run(*args: str, cwd: Path, env: Mapping[str, str] | None = None, text: str | None = None) -> Done:
    """Run ``paneview`` with these arguments, as a process would but in this one; `env` is on top of the environment.

    Not for what reads a terminal, goes on until Ctrl-C, or becomes another program. A process has one folder and one
    output: what a test runs on threads beside each other is run `apart`.
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
    """Run ``paneview`` with these arguments in a process that need not import it first (see `tests.prepared`)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = prepared.start(*args, cwd=cwd, env=environment(env), out=out, err=err)
        status = process.wait(45)
        return Done(status, _whole(out), _whole(err))


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
    """Start a supervisor that starts nothing by itself: what `start` does where there is none, but quicker.

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
    """Files in the place of the standard streams, Python's and the process's own; those of the output are given."""
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
