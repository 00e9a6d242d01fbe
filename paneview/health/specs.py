"""The probe of a task, derived from its configuration."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from paneview.config.models import Task

DEFAULT_PORTS = {"http": 80, "https": 443}


class ProbeSpec(Struct, frozen=True):
    """What to probe, and how many seconds to wait for the answer."""

    timeout: float

    @staticmethod
    def of(task: Task) -> ProbeSpec | None:
        """The probe to run for `task`; None if it has none, or one that is fed with output (`LogMatcher`)."""
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
        """Whether the probe can only succeed if there is a listener on `local_port`."""
        return True

    def local_port(self, task: Task) -> int | None:
        """The TCP port of this machine on which the task will listen when it is ready; None if not known."""
        return task.port


class ShellProbe(ProbeSpec, frozen=True):
    """Healthy when the shell command exits with 0."""

    command: str

    @property
    def needs_listener(self) -> bool:
        """False: a command may check anything."""
        return False


class HttpProbe(ProbeSpec, frozen=True):
    """Healthy when a GET returns a status in one of the ranges, and a body in which the pattern is found."""

    url: str
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    body: str | None = None

    @property
    def parts(self) -> SplitResult:
        """The parsed address."""
        return urlsplit(self.url)

    def local_port(self, _task: Task) -> int | None:
        """The port in the address, if that is on this machine."""
        parts = self.parts
        return (parts.port or DEFAULT_PORTS.get(parts.scheme)) if is_loopback(parts.hostname or "") else None


class TcpProbe(ProbeSpec, frozen=True):
    """Healthy when a connection is accepted."""

    host: str
    port: int

    def local_port(self, _task: Task) -> int | None:
        """The probed port, if that is on this machine."""
        return self.port if is_loopback(self.host) else None


def is_loopback(host: str) -> bool:
    """Whether this is one of the usual names of the machine itself; no name that needs a resolver counts."""
    return host.lower() in ("localhost", "127.0.0.1", "::1")
