"""The ``prompt`` kind: text for the worker's own program, by default ``claude -p``.

The worker decides what runs: program, arguments, environment and permissions come from its own settings, and only the
text from the job. The text is passed on standard input, where it can be of any length and can't be mistaken for an
option. A requested ``working_dir`` is granted if, with links followed, it is inside the folders of the worker's
allow-list.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from paneview.broker.model import Json
from paneview.proc import MARKER
from paneview.worker import child
from paneview.worker.command import Command, Failure
from paneview.worker.console import Console

# Marks of a session this worker may have been started in: a program that sees them considers itself part of it.
# So does git within a hook or an alias, and would change that repository's index, whatever the folder it is run in.
_NOT_INHERITED = frozenset({
    "CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_PARENT_SESSION_ID", "CLAUDE_CODE_REMOTE_SESSION_ID",
    "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE", "GIT_NAMESPACE", "GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE",
})  # fmt: skip


class Prompter:
    """Does jobs of the kind ``prompt``."""

    def __init__(
        self,
        command: Sequence[str],
        folders: Sequence[Path],
        environ: Mapping[str, str],
        console: Console,
        marker: str,
    ) -> None:
        self._command = tuple(command)
        self._folders = tuple(folders)
        # With this mark a watchdog or supervisor finds what a killed worker has left running.
        self._environ = {MARKER: marker, **inherited(environ)}
        self._console = console

    def __call__(self, command: Command) -> Json:
        """Run the program on the job's text; its output is the result. Raises `Failure`."""
        text, wish = _read(command.payload)
        cwd = self._folder(wish)
        env = {**self._environ, "PANEVIEW_JOB": command.id}
        began = time.monotonic()
        try:
            ended = child.run(
                command,
                self._command,
                text=text,
                cwd=cwd,
                env=env,
                show=lambda line: self._console.output(command.id, line),
            )
        except OSError as error:
            raise Failure(f"{shlex.join(self._command)} cannot be started: {error.strerror}") from error
        if command.cancelled:
            raise Failure(f"ended after {time.monotonic() - began:.1f} s")
        if ended.code != 0:
            raise Failure(_failed(self._command[0], ended))
        return ended.output.strip("\n")

    def _folder(self, wish: str) -> Path:
        return allowed(wish, self._folders, "working_dir") if wish else Path.cwd()


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the marks of a surrounding session."""
    return {name: value for name, value in environ.items() if name not in _NOT_INHERITED}


def allowed(wish: str, folders: Sequence[Path], what: str) -> Path:
    """The folder a job asks to run in, with links followed. Raises `Failure` if it is outside all ``folders``."""
    folder = Path(os.path.realpath(os.path.expanduser(wish)))
    if not any(folder.is_relative_to(one) for one in folders):
        way_on = f"name a folder in {folders[0]} (`-d`), or have the worker's `allow` name this one"
        raise Failure(f"{what} {wish} is outside what this worker allows: {way_on}", retry=False)
    if not folder.is_dir():
        raise Failure(f"{what} {wish} is not a folder here", retry=False)
    return folder


def _read(payload: Json) -> tuple[str, str]:
    """The prompt's text and the requested folder ("" if none). Raises `Failure` for an invalid payload."""
    if isinstance(payload, str):
        return payload, ""
    text = payload.get("text") if isinstance(payload, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise Failure('a prompt needs a payload such as {"text": "…"}', retry=False)
    context = payload.get("context") or {}
    wish = context.get("working_dir") if isinstance(context, dict) else None
    wish = wish or payload.get("working_dir") or ""
    if not isinstance(wish, str) or "\0" in wish:
        raise Failure("working_dir is not a path", retry=False)
    return text, wish


def _failed(program: str, ended: child.Ended) -> str:
    how = f"exit code {ended.code}" if ended.code >= 0 else f"signal {-ended.code}"
    words = (ended.errors or ended.output.strip())[-2000:]
    return f"{os.path.basename(program)} ended with {how}" + (f": {words}" if words else "")
