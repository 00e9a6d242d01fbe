"""The definition that a run was launched from, stored with its pane for whoever finds the run later.

The next supervisor may be started from another shell: values that the file takes from the environment (``${PATH}``, a
worker's Python) then differ although no one has changed anything, which is no reason to end a healthy process. So two
marks are kept: one of the process as it was started, and one of what the file said. A run no longer matches its file
only if both differ now. (A version that computes one mark in another way must leave the other as it is, or an update
would restart everything.)
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from paneview.config.models import Task

_WORDS = 4


class Origin(Struct, frozen=True):
    """The definition of a run, as far as it is stored with its pane."""

    key: str
    """`Task.definition_key`."""
    written: str
    """`Task.written`."""
    stop_signal: str
    stop_grace: float

    @classmethod
    def of(cls, task: Task) -> Origin:
        """The origin of a run that is launched now."""
        return cls(task.definition_key(), task.written, task.stop_signal, task.stop_grace_period)

    @classmethod
    def read(cls, text: str) -> Origin | None:
        """Parse what `text` wrote; None for the empty one of an older version, or one that is not understood."""
        words = text.split(" ")
        if len(words) != _WORDS:
            return None
        try:
            return cls(words[0], words[1], words[2], float(words[3]))
        except ValueError:
            return None

    def text(self) -> str:
        """The value of the pane's option."""
        return f"{self.key} {self.written} {self.stop_signal} {self.stop_grace:g}"


def renewed(stored: str, task: Task) -> str:
    """What to store for a run that goes on under another definition; where nothing was stored, nothing will be.

    If its process would be a different one now, for whatever reason, the marks keep saying what it was launched from.
    """
    origin = Origin.read(stored)
    if origin is None:
        return stored
    now = Origin.of(task)
    if origin.key != now.key:
        now = replace(now, key=origin.key, written=origin.written)
    return now.text()


def outdated(stored: str, task: Task) -> bool:
    """Whether the run with this origin was launched from another definition; False if that is not known."""
    origin = Origin.read(stored)
    return origin is not None and origin.key != task.definition_key() and origin.written != task.written
