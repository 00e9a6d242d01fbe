"""The result of a probe."""

from __future__ import annotations

from msgspec import Struct

MAX_OUTPUT = 4096  # bytes kept of a probe's output: the last ones


class ProbeResult(Struct, frozen=True):
    """One answer to "is it healthy?"."""

    ok: bool
    detail: str
    """For people, in a few words: ``HTTP 503 from http://localhost:8000/health``."""
    output: str = ""
    """The end of what the probe printed, or the beginning of the answer; at most `MAX_OUTPUT` bytes."""
    duration: float = 0.0
    """Seconds."""
    asked: bool = True
    """False: the probe could not be run for lack of resources, which says nothing about the task."""


class ProbeFailed(Exception):  # noqa: N818 - an outcome that ends a probe early, not an error of ours
    """The probe's answer is no; the message is the result's ``detail``."""

    def __init__(self, detail: str, output: str = "") -> None:
        super().__init__(detail)
        self.output = output


def seconds(value: float) -> str:
    """A duration for people: ``5 s``, ``0.25 s``."""
    return f"{value:g} s"
