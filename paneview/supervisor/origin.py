"""What a run was launched from, written beside its pane, so that whoever finds the run later knows what it is.

The next supervisor may have been started from another shell: what the file takes from the environment (``${PATH}``, the
Python of a worker) then reads differently, though nobody has changed anything, and that is no reason to end a healthy
process. So two marks are kept: of the process as it came to be, and of what the file said. Only where both are others
now does the run no longer match its file. (A version that makes one of the marks in another way leaves the other as
it is: else an update would restart all that runs.)
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from paneview.config.models import Task

_WORDS = 4


class Origin(Struct, frozen=True):
    """The definition that a run goes by."""

    key: str
    """`Task.definition_key`."""
    written: str
    """`Task.written`."""
    stop_signal: str
    stop_grace: float

    @classmethod
    def of(cls, task: Task) -> Origin:
        """That of a run which is launched now."""
        return cls(task.definition_key(), task.written, task.stop_signal, task.stop_grace_period)

    @classmethod
    def read(cls, text: str) -> Origin | None:
        """What `text` wrote; None for a run from before there was such a note, or one that is not understood."""
        words = text.split(" ")
        if len(words) != _WORDS:
            return None
        try:
            return cls(words[0], words[1], words[2], float(words[3]))
        except ValueError:
            return None

    def text(self) -> str:
        """For a pane's option."""
        return f"{self.key} {self.written} {self.stop_signal} {self.stop_grace:g}"


def renewed(note: str, task: Task) -> str:
    """The note of a run that goes on under another definition; one without a note stays so.

    Of a process that would be another one now, for whatever reason, it is still said what it was launched from.
    """
    origin = Origin.read(note)
    if origin is None:
        return note
    now = Origin.of(task)
    if origin.key != now.key:
        now = replace(now, key=origin.key, written=origin.written)
    return now.text()


def outdated(note: str, task: Task) -> bool:
    """Whether the run with this note was launched from another definition; False if that is not known."""
    origin = Origin.read(note)
    return origin is not None and origin.key != task.definition_key() and origin.written != task.written
