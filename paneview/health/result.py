"""What a probe found out."""

from __future__ import annotations

from msgspec import Struct

MAX_OUTPUT = 4096  # bytes of a probe's output that are kept: the last ones


class ProbeResult(Struct, frozen=True):
    """One answer to "is it healthy?"."""

    ok: bool
    detail: str
    """For people, in a few words: ``HTTP 503 from http://localhost:8000/health``."""
    output: str = ""
    """The last of what the probe printed, or the beginning of the answer; `MAX_OUTPUT` bytes at most."""
    duration: float = 0.0
    """Seconds."""
    asked: bool = True
    """False: there were no means to ask, which says nothing about the task."""


class ProbeFailed(Exception):  # noqa: N818 - an outcome that ends a probe early, not an error of ours
    """The probe's answer is no; the message is the result's ``detail``."""

    def __init__(self, detail: str, output: str = "") -> None:
        super().__init__(detail)
        self.output = output


def seconds(value: float) -> str:
    """``5 s``, ``0.25 s``."""
    return f"{value:g} s"
