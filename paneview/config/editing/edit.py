"""Adding a task to a configuration file and removing one, with every other byte as it was.

A file belongs to whoever wrote it: comments, order, spacing and line ends are not ours to change. So the file
is never written anew from its data; text is inserted or cut out at the positions that `scan` finds.

``add_task`` appends one table after an empty line, with the line ends of the file. ``remove_task`` cuts
everything about the task (its tables, dotted keys, its part of an inline table) and the one empty line before
a table. Comments stay, except on the lines that go and between them, which are taken to be the task's. So
removing what was added restores the same bytes: a file without a newline at its end gets its table without
one, by which removing recognises it.

The result must load, or nothing is written. Writing takes a temporary file and a rename, under a lock on the
folder; a symbolic link stays one, and its target is replaced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w

from paneview.config.editing.scan import Document, Statement, scan
from paneview.config.errors import ConfigError, Problem
from paneview.config.load import parse_project, parse_toml
from paneview.config.reading import read_file
from paneview.config.validate import Path as KeyPath
from paneview.config.validate import nearest

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_EMPTY_LINE_BEFORE = re.compile(r"(?:(?<=\n)|^)\r?\n\Z")
_BLANK_LINES = re.compile(r"(?:[ \t]*\r?\n)*")
_LINE_END = re.compile(r"\r?\n\Z")
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP)  # the file system has no locks for folders


def add_task(path: Path, name: str, fields: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Add a task with `fields` (as the file would have them) at the end of the file.

    Raises ConfigError if there is a task of that name, or if the file with the task would not load; OSError.
    """

    def add(text: str, data: Mapping[str, Any]) -> str:
        tasks = data.get("tasks", {})
        if isinstance(tasks, dict) and name in tasks:
            raise ConfigError(Problem(str(path), *_place(text, name), f"task {name!r} exists already"))
        return _with_task(scan(text), name, fields)

    edit_file(path, add, environ)


def remove_task(path: Path, name: str, environ: Mapping[str, str]) -> None:
    """Remove a task.

    Raises ConfigError if there is no such task, or if the file without it would not load, because another
    task depends on it; OSError.
    """

    def remove(text: str, data: Mapping[str, Any]) -> str:
        tasks = data.get("tasks", {})
        if not isinstance(tasks, dict) or name not in tasks:
            hint = nearest(name, tasks) if isinstance(tasks, dict) else None
            raise ConfigError(Problem(str(path), None, None, f"Task {name!r} not found in config", hint))
        return _without_task(scan(text), name)

    edit_file(path, remove, environ)


def task_text(path: Path, name: str) -> str:
    """The file's own text about a task or worker. Raises ConfigError, OSError."""
    text, _ = parse_toml(read_file(path), path)
    return _definition(path, scan(text), name)[0]


def replace_task(path: Path, name: str, was: str, text: str, environ: Mapping[str, str]) -> None:
    """Put ``text`` in place of what the file says about a task or worker, which must still be ``was``.

    Raises ConfigError if it is not, or if the file with it would not load; OSError.
    """

    def change(whole: str, _data: Mapping[str, Any]) -> str:
        now, cuts = _definition(path, scan(whole), name)
        if now != was:
            message = f"{name!r} was changed meanwhile"
            raise ConfigError(Problem(str(path), None, None, message, "edit it again"))
        put = text if text.endswith("\n") or not was.endswith("\n") else text + "\n"
        for start, end in reversed(cuts[1:]):
            whole = whole[:start] + whole[end:]
        return whole[: cuts[0][0]] + put + whole[cuts[0][1] :]

    edit_file(path, change, environ)


def _definition(path: Path, document: Document, name: str) -> tuple[str, list[tuple[int, int]]]:
    """The text about a task, and its places in the document, without the empty line before it."""
    text = document.text
    for table in ("tasks", "workers"):
        if (table, name) not in document.spans:
            continue
        if (table,) in document.inline:
            message = f"{name!r} is written inside another table's line"
            raise ConfigError(Problem(str(path), None, None, message, "edit the file itself"))
        (start, end), *others = _cuts(document, (table, name))
        blank = _BLANK_LINES.match(text, start)
        cuts = [(blank.end() if blank else start, end), *others]
        return "".join(text[start:end] for start, end in cuts), cuts
    raise ConfigError(Problem(str(path), None, None, f"Task {name!r} not found in config"))


def _place(text: str, name: str) -> tuple[int, int]:
    document = scan(text)
    return document.position(document.spans["tasks", name].key)


def edit_file(
    path: Path, change: Callable[[str, Mapping[str, Any]], str], environ: Mapping[str, str]
) -> None:
    """Write what ``change`` makes of the file's text and data.

    Raises ConfigError if there is no such file, or if the result would not load; OSError.
    """
    target = Path(os.path.realpath(path))
    with _lock(target.parent):
        try:
            text, data = parse_toml(read_file(target), path)
        except FileNotFoundError as error:
            raise ConfigError(
                Problem(str(path), None, None, "does not exist", "'paneview init' writes it")
            ) from error
        changed = change(text, data)
        try:
            content = changed.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                Problem(str(path), None, None, "what is to be written is not UTF-8 text")
            ) from error
        try:
            parse_project(content, path, environ)
        except ConfigError as error:
            raise ConfigError(
                *(_as_it_stands(problem, text, changed) for problem in error.problems)
            ) from error
        replace_file(target, content)


def _as_it_stands(problem: Problem, text: str, changed: str) -> Problem:
    """A problem of the changed text, with its place in the unchanged one; in what is new, it has none."""
    if problem.line is None:
        return problem
    old, new = text.splitlines(), changed.splitlines()
    line, more = problem.line, len(new) - len(old)
    if old[:line] != new[:line]:
        if old[line - more - 1 :] != new[line - 1 :]:
            return Problem(problem.file, None, None, problem.message, problem.hint)
        line -= more
    return Problem(problem.file, line, problem.column, problem.message, problem.hint)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One edit at a time: each starts from what the last one wrote."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            # NFS locks only what is open for writing, as no folder can be. Without a lock, one of two edits in the
            # same instant may be lost, but the file is whole.
            if error.errno not in _NO_LOCKS:
                raise
        yield
        with suppress(OSError):  # some mounts refuse it; the new file is in place by then
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(target: Path, content: bytes) -> None:
    """Replace what `target` holds by `content`, whole or not at all; owner and mode stay. Raises OSError."""
    owner = target.stat()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), owner.st_mode & 0o7777)
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                with suppress(PermissionError):
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _with_task(document: Document, name: str, fields: Mapping[str, Any]) -> str:
    text = document.text
    if ("tasks",) in document.inline:
        return _into_inline_table(document, ("tasks",), f"{to_key(name)} = {to_value(fields)}")
    line_end = "\r\n" if text.endswith("\r\n") or ("\r\n" in text and not text.endswith("\n")) else "\n"
    lines = [
        f"[tasks.{to_key(name)}]",
        *(f"{to_key(key)} = {to_value(value)}" for key, value in fields.items()),
    ]
    block = line_end.join(lines)
    if not text:
        return block + line_end
    if text.endswith("\n"):
        return text + line_end + block + line_end
    return text + line_end + line_end + block


def _into_inline_table(document: Document, table: KeyPath, entry: str) -> str:
    text = document.text
    if entries := document.inline[table]:
        end = entries[-1].end
        return f"{text[:end]}, {entry}{text[end:]}"
    opening = document.spans[table].value + 1
    return text[:opening] + entry + text[opening:]


def _without_task(document: Document, name: str) -> str:
    text = document.text
    for start, end in reversed(_cuts(document, ("tasks", name))):
        text = text[:start] + text[end:]
    return text


def _cuts(document: Document, task: KeyPath) -> list[tuple[int, int]]:
    """The stretches of text that say something about the task, in their order."""

    def concerns(statement: Statement) -> bool:
        return statement.path[: len(task)] == task

    if entries := document.inline.get(task[:-1]):
        return _entry_cuts([(entry.start, entry.end, concerns(entry)) for entry in entries])
    cuts: list[tuple[int, int]] = []
    in_table = False
    for statement in document.statements:
        if not concerns(statement):
            in_table = False
        elif in_table and not statement.is_header:  # with the comments since the line before
            cuts[-1] = (cuts[-1][0], statement.end)
        else:
            in_table = statement.is_header
            start = _before_empty_line(document.text, statement.start) if in_table else statement.start
            cuts.append((start, statement.end))
    if cuts and cuts[-1][1] == len(document.text) and not document.text.endswith("\n"):
        cuts[-1] = (_before_line_end(document.text, cuts[-1][0]), cuts[-1][1])
    return cuts


def _entry_cuts(entries: list[tuple[int, int, bool]]) -> list[tuple[int, int]]:
    """The stretches to cut out of an inline table: entries, each with the comma between it and one that stays."""
    cuts: list[tuple[int, int]] = []
    kept_end: int | None = None
    for start, end, goes in entries:
        if not goes:
            if kept_end is None and cuts:
                cuts = [(cuts[0][0], start)]
            kept_end = end
        elif cuts and kept_end in (None, cuts[-1][0]):
            cuts[-1] = (cuts[-1][0], end)
        else:
            cuts.append((start if kept_end is None else kept_end, end))
    return cuts


def _before_empty_line(text: str, start: int) -> int:
    match = _EMPTY_LINE_BEFORE.search(text[:start])
    return match.start() if match else start


def _before_line_end(text: str, start: int) -> int:
    match = _LINE_END.search(text[:start])
    return match.start() if match else start


def to_key(name: str) -> str:
    """A key as TOML writes it, quoted if need be."""
    return name if _BARE_KEY.fullmatch(name) else to_value(name)


def to_value(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{to_key(str(key))} = {to_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_value(item) for item in value)}]"
    return tomli_w.dumps({"k": value}).removeprefix("k = ").removesuffix("\n")
