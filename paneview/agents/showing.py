"""The files of a run's output: the transcript as the agent printed it, and a readable form, both without secrets."""

from __future__ import annotations

import os
from pathlib import Path

from paneview.agents import folder as place
from paneview.agents.parsing import Shown
from paneview.agents.redact import Redactor
from paneview.store.clean import plain

LONGEST = 400  # characters of a tool call that are shown
LARGEST = 64 * 1024 * 1024  # bytes of a file; the rest is left out
CUT = "[the rest is left out: too large]"
LOST = b"\n[what came here is left out: it could not be written]\n"
_SIGNS = {"text": "", "tool": "● ", "result": "  ↳ ", "retry": "↻ ", "warning": "! ", "raw": "· "}


class File:
    """A file to which lines are added up to a maximum size.

    It is only a record: lines that cannot be written, as on a full disk, are left out.
    """

    def __init__(self, path: Path) -> None:
        self._fd = place.append(path)
        self._left = LARGEST - os.fstat(self._fd).st_size
        self._gap = b""

    def add(self, text: str) -> None:
        """Add lines."""
        if self._left <= 0:
            return
        data = self._gap + (text + "\n").encode("utf-8", "replace")
        self._left -= len(data)
        if self._left <= 0:
            data = (CUT + "\n").encode()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
            self._gap = b""
        except OSError:
            self._gap = LOST


class Book:
    """The three files that are kept of a run."""

    FILES = (place.TRANSCRIPT, place.SHOWN, place.ERRORS)

    def __init__(self, folder: Path, redactor: Redactor) -> None:
        self._transcript, self._shown, self._errors = (File(folder / name) for name in self.FILES)
        self._redactor = redactor

    def line(self, line: str) -> None:
        """Add a line that the agent printed."""
        self._transcript.add(self._redactor.text(line))

    def error(self, line: str) -> str:
        """Add a line of the agent's standard error; returns it without secrets, so that it may be cut."""
        line = self._redactor.text(line)
        self._errors.add(line)
        if line.strip():
            self.show(Shown("warning", line))
        return line

    def show(self, shown: Shown) -> None:
        """Add something to show to people, without control sequences."""
        sign, text = _SIGNS[shown.kind], self._redactor.text(shown.text)
        if shown.kind == "tool" and len(text) > LONGEST:  # only now: half of a secret would not be found
            text = f"{text[: LONGEST - 1]}…"
        lines = [plain(line.encode("utf-8", "replace")) for line in text.split("\n")]
        if kept := [line for line in lines if line.strip()]:
            self._shown.add(
                "\n".join((sign if not at else " " * len(sign)) + line for at, line in enumerate(kept))
            )
