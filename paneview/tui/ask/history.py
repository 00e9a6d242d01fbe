"""What was asked before, kept between sessions: ``asked.jsonl`` in paneview's state folder, one line each.

One file for all projects, each line with the project's file, so that a project sees only its own. It is private
(0600), because a text may contain what others must not read.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

KEPT = 500  # questions, of all projects
MOST_BYTES = 4_000_000  # of the file that are read


class AskHistory:
    """The history, and the draft that was not sent. The methods block while they read or write a small file."""

    def __init__(self, home: Path) -> None:
        self._file = home / "asked.jsonl"
        self.draft = ""

    def of(self, project: str | None) -> list[str]:
        """What was asked in this project, the oldest first, each text once."""
        texts = [text for where, text in self._lines() if where == project]
        return list(reversed(dict.fromkeys(reversed(texts))))

    def add(self, project: str | None, text: str) -> None:
        """Append a text to the history. Raises OSError."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = self._lines()
        if len(known) >= 2 * KEPT:
            self._write(known[-KEPT:])
        line = _line(project, text)
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def _lines(self) -> list[tuple[str | None, str]]:
        try:
            with self._file.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - MOST_BYTES))
                raw = file.read()
        except OSError:
            return []
        found = []
        for part in raw.split(b"\n"):
            with suppress(ValueError, RecursionError, KeyError, TypeError):  # half a line, or not one of ours
                one = json.loads(part)
                found.append((one["project"], str(one["text"])))
        return found

    def _write(self, lines: list[tuple[str | None, str]]) -> None:
        """Replace the whole file atomically."""
        fresh = self._file.with_suffix(f".{os.getpid()}.new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(_line(*one) for one in lines)
        fresh.replace(self._file)


def _line(project: str | None, text: str) -> str:
    return f"{json.dumps({'project': project, 'text': text})}\n"
