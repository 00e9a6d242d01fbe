"""Files on a share: whole or absent, durable on request, and missing in all the ways a network file system reports."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from paneview.broker.errors import BrokerError, UnavailableError, UnknownJobError
from paneview.broker.jsontext import to_json
from paneview.broker.model import Json

HOST = socket.gethostname()
GONE = (errno.ENOENT, errno.ESTALE)  # ESTALE: an NFS handle whose file another host has removed
NO_FILE = (errno.ENXIO, errno.ELOOP)  # a socket, a link to itself
_REMEMBER_CLOCK = 5.0  # seconds
AHEAD = 1_000_000_000  # ns a file's time may be ahead of the clock before the clock counts as set back


@contextmanager
def explained(root: str) -> Iterator[None]:
    """Turn errors of the file system into `BrokerError` with readable messages.

    A share that is not mounted looks like an empty one, so what was found is no answer then.
    """
    try:
        yield
        if not os.path.isdir(f"{root}/paneview"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)
    except (OSError, UnknownJobError) as error:
        if not os.path.isdir(f"{root}/paneview"):
            raise UnavailableError(f"the shared folder {root} is not there: is it mounted?") from error
        if isinstance(error, UnknownJobError):
            raise
        reason = error.strerror or str(error)
        if error.errno in (errno.EACCES, errno.EPERM):
            raise BrokerError(f"the shared folder {root} refuses: {reason} ({error.filename})") from error
        raise UnavailableError(f"the shared folder {root} cannot be used now: {reason}") from error


@contextmanager
def may_be_gone() -> Iterator[None]:
    """Ignore the error if a file is gone."""
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def make_folder(folder: str) -> None:
    """Create a folder, and the one around it; never the queue itself, in the place where its share was mounted."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
    except FileNotFoundError:
        around = os.path.dirname(folder)
        if os.path.basename(around) == "paneview":
            raise
        with suppress(FileExistsError):
            os.mkdir(around)
        with suppress(FileExistsError):
            os.mkdir(folder)


def move(source: str, target: str, *, ours: bool = False) -> bool:
    """Rename; returns whether it was us who did. Creates the target's folder if there is none.

    `ours`: no other process could have made this target. If it exists, then, the move was ours, even though the
    answer to the first attempt was lost on the network.
    """
    for _ in range(2):
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno not in GONE:
                raise
            folder = os.path.dirname(target)
            if os.path.isdir(folder):
                return ours and os.path.exists(target)
            make_folder(folder)
        else:
            return True
    return False


def link(source: str, target: str) -> bool:
    """Give a file a second name; False if that name is taken or the source is gone."""
    for _ in range(2):
        try:
            os.link(source, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in GONE:
                raise
            folder = os.path.dirname(target)
            if os.path.isdir(folder):
                return False
            make_folder(folder)
        else:
            return True
    return False


def remove(path: str) -> bool:
    """Unlink; returns whether the file existed. A folder in a file's place, which is not ours, stays."""
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno not in GONE and not os.path.isdir(path):
            raise
        return False
    return True


def is_file(path: str) -> bool | None:
    """Whether it is a regular file; None if it is gone."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


def open_file(path: str) -> int | None:
    """A descriptor for reading; None if the file is gone or not a regular one. Never blocks on a FIFO."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in GONE or error.errno in NO_FILE:
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def names(folder: str) -> list[str]:
    """The names in a folder; none if there is no such folder. Hidden ones, such as NFS's ``.nfs…``, are left out."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        if error.errno in GONE or error.errno == errno.ENOTDIR:
            return []
        raise


def read(path: str) -> bytes | None:
    """A file's content; None if it is gone or not a regular file."""
    try:
        if (descriptor := open_file(path)) is None:
            return None
        with open(descriptor, "rb") as file:
            return file.read()
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


def read_json(path: str) -> dict[str, Any] | None:
    """A file's JSON object; None if it is gone or holds anything else."""
    data = read(path)
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def sync(folder: str) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems don't support this, and don't need it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: str, value: Json, *, durable: bool = True, new: bool = False) -> None:
    """Write a file. Others may see it half written, so rename or link it afterwards to where they look.

    Raises FileExistsError with ``new`` if it exists.
    """
    data = memoryview(to_json("a file", value).encode())
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else os.O_TRUNC)
    descriptor = os.open(path, flags, 0o666)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        if durable:
            os.fsync(descriptor)
    except BaseException:
        if new:
            remove(path)
        raise
    finally:
        os.close(descriptor)


class Scratch:
    """New files under private names, and the server's clock."""

    def __init__(self, own: str) -> None:
        self._tmp = f"{own}/tmp"  # noqa: S108 - our own
        self._probe = f"{own}/clock/{HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        self._offset = 0
        self._known_until = 0.0
        self._last = 0

    def name(self) -> str:
        """A unique path for a new file."""
        return f"{self._tmp}/{HOST}.{os.getpid()}.{uuid.uuid4().hex}"

    def replace(self, path: str, value: Json, *, durable: bool = True) -> None:
        """Write a file so that others see it whole or not at all."""
        new = self.name()
        try:
            write(new, value, durable=durable)
            if not move(new, path):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", new)
        except BaseException:
            remove(new)
            raise

    def create(self, path: str, value: Json) -> bool:
        """Like `replace`, but only if the file does not exist; returns whether it was created."""
        new = self.name()
        try:
            write(new, value)
            return link(new, path)
        finally:
            remove(new)

    def now(self) -> float:
        """The file server's time (epoch seconds): what it stamps on a file that is touched now."""
        return self._now_ns() / 1e9

    def _now_ns(self) -> int:
        try:
            os.utime(self._probe)
        except OSError as error:
            if error.errno not in GONE:
                raise
            make_folder(os.path.dirname(self._probe))
            os.close(os.open(self._probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        moment = os.stat(self._probe).st_mtime_ns
        self._offset = moment - time.monotonic_ns()
        self._known_until = time.monotonic() + _REMEMBER_CLOCK
        return moment

    def silence(self, path: str) -> float | None:
        """Seconds for which a file has certainly not been touched; None if it is gone.

        The server's clock is read before the file: a touch in between makes the result smaller, not negative, and a
        pause of this process changes nothing. Infinite if the file is ahead of a clock read after it, because then
        the clock was set back.
        """
        before = self._now_ns()
        moment = _touched_ns(path)
        if moment is None:
            return None
        if moment > before and moment > self._now_ns() + AHEAD:
            return float("inf")
        return max(0, before - moment) / 1e9

    def tick(self) -> int:
        """About the same as `now`, in µs, cheaper and strictly increasing: for order and for people, not for leases."""
        if time.monotonic() > self._known_until:
            self.now()
        self._last = max(self._last + 1, (time.monotonic_ns() + self._offset) // 1000)
        return self._last

    def close(self) -> None:
        """Remove the probe."""
        remove(self._probe)


def touched(path: str) -> float | None:
    """When a file was last touched (epoch seconds), as far as this host knows; None if it is gone."""
    try:
        return os.stat(path).st_mtime
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


def age_by(path: str, now: float) -> float | None:
    """Seconds from a file's last touch to ``now`` (server's clock), negative if touched later; None if it is gone."""
    moment = _touched_ns(path)
    return None if moment is None else now - moment / 1e9


def _touched_ns(path: str) -> int | None:
    """When a file was last touched; None if it is gone.

    The file is opened first, which makes NFS ask the server, while `stat` may answer from a cache. Whole nanoseconds,
    because the same moment converted to seconds in two ways differs in the last digit, which could swap two times.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in GONE:
            return None
        if error.errno in NO_FILE:
            return os.lstat(path).st_mtime_ns
        raise
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
