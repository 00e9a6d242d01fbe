"""The probe a task asks for, taken out of its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from paneview.config.models import Task


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """What to ask, and how many seconds to wait for the answer."""

    timeout: float

    @staticmethod
    def of(task: Task) -> ProbeSpec | None:
        """The probe to run for `task`; None if it has none, or one that is fed with its output
        (`LogMatcher`)."""
        if task.health_check is not None:
            return ShellProbe(task.health_timeout, task.health_check)
        if task.health_url is not None:
            return HttpProbe(task.health_timeout, task.health_url, task.health_status, task.health_body)
        if task.health_tcp is not None:
            host, _, port = task.health_tcp.rpartition(":")
            return TcpProbe(task.health_timeout, host.strip("[]"), int(port))
        return None


@dataclass(frozen=True, slots=True)
class ShellProbe(ProbeSpec):
    """Healthy when the shell command exits with 0."""

    command: str


@dataclass(frozen=True, slots=True)
class HttpProbe(ProbeSpec):
    """Healthy when a GET is answered with a status in one of the ranges, and a body in which the pattern is
    found."""

    url: str
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    body: str | None = None

    @property
    def parts(self) -> SplitResult:
        """The address taken apart."""
        return urlsplit(self.url)


@dataclass(frozen=True, slots=True)
class TcpProbe(ProbeSpec):
    """Healthy when a connection is accepted."""

    host: str
    port: int
