"""The probe a task asks for, taken out of its configuration."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from paneview.config.models import Task

DEFAULT_PORTS = {"http": 80, "https": 443}


class ProbeSpec(Struct, frozen=True):
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

    @property
    def needs_listener(self) -> bool:
        """Whether the answer can be yes only when somebody listens on `local_port`."""
        return True

    def local_port(self, task: Task) -> int | None:
        """The TCP port of this machine on which the task will listen when it is ready, as far as that is known."""
        return task.port


class ShellProbe(ProbeSpec, frozen=True):
    """Healthy when the shell command exits with 0."""

    command: str

    @property
    def needs_listener(self) -> bool:
        """A command may look at anything."""
        return False


class HttpProbe(ProbeSpec, frozen=True):
    """Healthy when a GET is answered with a status in one of the ranges, and a body in which the pattern is
    found."""

    url: str
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    body: str | None = None

    @property
    def parts(self) -> SplitResult:
        """The address taken apart."""
        return urlsplit(self.url)

    def local_port(self, _task: Task) -> int | None:
        """That of the address."""
        parts = self.parts
        return (parts.port or DEFAULT_PORTS.get(parts.scheme)) if is_loopback(parts.hostname or "") else None


class TcpProbe(ProbeSpec, frozen=True):
    """Healthy when a connection is accepted."""

    host: str
    port: int

    def local_port(self, _task: Task) -> int | None:
        """The port that is asked."""
        return self.port if is_loopback(self.host) else None


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself, by one of the usual names. Never a name that somebody else resolves."""
    return host.lower() in ("localhost", "127.0.0.1", "::1")
