"""A waiter's doorbell: a datagram socket whose path is stored in the database under the topics it waits for."""

from __future__ import annotations

import os
import select
import socket
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

from paneview.broker.errors import BrokerError, UnavailableError
from paneview.broker.sqlite.database import ASIDE, Database
from paneview.broker.waiting import Topics
from paneview.config.locate import MAX_SOCKET_PATH
from paneview.control.socketfile import UnsafeSocket, prepare_folder

_CALL_OFF = b"!"
UNHEARD = 0.2  # seconds between two looks while the bell cannot be rung


class SocketBell:
    """See `paneview.broker.waiting.Bell`.

    If it cannot be hung up, because another process keeps the queue locked, the disk is full, no descriptor is left or
    the folder belongs to another user, waits are short, since looking needs none of these, and hanging it up is
    retried after each.
    """

    def __init__(self, database: Database, topics: Topics) -> None:
        self.called_off = False
        self._database = database
        self._topics = topics
        self._hung = 0  # `Database.opened` when it was hung up
        self._path = _place(database.path) / f"{uuid.uuid4().hex[:12]}"
        self._socket: socket.socket | None = None
        try:
            self._hang_up()
        except BaseException:
            self._take_down()
            raise

    def _hang_up(self) -> None:
        with suppress(UnavailableError, UnsafeSocket, OSError):
            if self._socket is None:
                self._socket = _bound(self._path, self._database.path)
            with self._database.write(ASIDE) as step:
                for topic in dict.fromkeys(self._topics):
                    step.sql("INSERT INTO bells VALUES (?, ?)", (topic, str(self._path)))
                self._hung = self._database.opened

    @property
    def _hangs(self) -> bool:
        return self._hung == self._database.opened

    def wait(self, timeout: float) -> None:
        """Sleep until it rings."""
        if not self._hangs:
            timeout = min(timeout, UNHEARD)
        poll = select.poll()
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN)
        # Rounded up: waking half a millisecond early would poll busily.
        poll.poll(max(0, round(timeout * 1000)) + 1)
        with suppress(BlockingIOError):
            while self._socket is not None:
                self.called_off |= self._socket.recv(16) == _CALL_OFF
        if not self._hangs and not self.called_off:
            self._hang_up()  # before the look that follows

    def call_off(self) -> None:
        """Wake the waiter for good."""
        self.called_off = True
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(_CALL_OFF, str(self._path))

    def close(self) -> None:
        """Take it down."""
        try:
            # If that is impossible now, the next process that rings it removes it.
            if self._hangs:
                with suppress(BrokerError), self._database.write(ASIDE) as step:
                    step.sql("DELETE FROM bells WHERE path = ?", (str(self._path),))
        finally:
            self._take_down()

    def _take_down(self) -> None:
        if self._socket is not None:
            self._socket.close()
            with suppress(OSError):
                os.unlink(self._path)


def _bound(path: Path, database: Path) -> socket.socket:
    """A socket in a private folder, which is created if necessary. Raises OSError, UnsafeSocket."""
    if path.parent == _beside(database):
        with suppress(FileExistsError):
            path.parent.mkdir(mode=0o700)
    else:  # any user may have created one there
        prepare_folder(path.parent)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.bind(str(path))
    except BaseException:
        bound.close()
        raise
    return bound


def _place(database: Path) -> Path:
    """A folder for the sockets: next to the database, or one with a short path if that would be too long."""
    if len(os.fsencode(_beside(database))) + 13 <= MAX_SOCKET_PATH:
        return _beside(database)
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"paneview-bells-{os.getuid()}"


def _beside(database: Path) -> Path:
    return Path(f"{database}.bells")
