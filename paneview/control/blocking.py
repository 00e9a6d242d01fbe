"""The command line's client of the supervisor: one connection, a request, a reply.

``paneview status`` has to answer within 30 ms, of which Python's own start takes ten. So this module does
without ``socket``, which loads enum and selectors around the C module that does the work (5 ms), and without
``json`` until something must be parsed (7 ms): `Connection.call_text` returns the result as the text that
was received.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from paneview.control.errors import ControlError, Disconnected, NoSupervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, Self

MAX_LINE = 16 * 1024 * 1024
READ_SIZE = 64 * 1024
TURN = 1000  # ms; see `Connection._wait`
RETRY = 0.01  # seconds until the next try, if too many others wait
# How a reply without error begins and ends on the wire (`session` builds it so, and a test checks that they
# agree).
REPLY_START = b'{"id":%d,"ok":true,"result":'
REPLY_END = b"}\n"
_NOBODY = {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR, errno.ENOTSOCK}


class Connection:
    """A connection to the supervisor that listens at `path`.

    `client` is the name under which this process appears in events; `timeout` (seconds, None for ever) bounds
    each wait for a reply. Raises NoSupervisor if there is no socket or nothing listens on it, ControlError if
    the connection fails otherwise.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, client: str = "cli", timeout: float | None = None
    ) -> None:
        self._client = client
        self._number = 0
        self._pushes: list[dict[str, Any]] = []
        self._buffer = bytearray()
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._connect(os.fspath(path), timeout)
        except OSError as error:
            self._socket.close()
            if error.errno in _NOBODY:
                raise NoSupervisor(f"no supervisor listens at {os.fspath(path)}") from None
            # As after a first start with sudo, which the user can neither see nor end.
            whose = {"hint": "another user has started it; be that user, or have a PANEVIEW_HOME of your own"}
            extra = whose if isinstance(error, PermissionError) else {}
            message = f"cannot connect to {os.fspath(path)}: {error.strerror or error}"
            raise ControlError(message, **extra) from None

    def _connect(self, path: str, timeout: float | None) -> None:
        """Connect. While too many others wait to be accepted, the kernel sends away who would not wait without end."""
        end = None
        while True:
            try:
                self._socket.connect(path)
            except BlockingIOError:
                now = time.monotonic()
                end = now + (timeout or 0.0) if end is None else end
                if now >= end:
                    raise
                time.sleep(RETRY)  # its queue is full: nothing tells when a place in it is free
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. Requests already sent are still carried out."""
        self._socket.close()

    def fileno(self) -> int:
        """The socket's descriptor, for select and poll."""
        return self._socket.fileno()

    def call(self, do: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return the reply's result. Pushes that come meanwhile are kept for `pushes`.

        Raises ControlError for a refusal or failure, Disconnected if the connection ends first.
        """
        import json  # noqa: PLC0415

        self._number += 1
        request = {"id": self._number, "do": do, "client": self._client, "args": args or {}}
        self._send(json.dumps(request).encode() + b"\n")
        while True:
            message = self._read()
            if "push" in message:
                self._pushes.append(message)
            elif message.get("id") == self._number:
                if message.get("ok"):
                    result: dict[str, Any] = message.get("result") or {}
                    return result
                raise ControlError.from_json(message)

    def call_text(self, do: str) -> bytes:
        """Like `call` without arguments, but returns the result as JSON text.

        Only for a connection that has not subscribed.
        """
        self._number += 1
        self._send(
            b'{"id":%d,"do":"%b","client":"%b"}\n' % (self._number, do.encode(), self._client.encode())
        )
        line = self._read_line()
        start = REPLY_START % self._number
        if line.startswith(start):
            return bytes(line[len(start) : -len(REPLY_END)])
        import json  # noqa: PLC0415

        message = json.loads(line)
        if "push" in message:  # good-bye
            raise Disconnected("the supervisor ended before it answered")
        raise ControlError.from_json(message)

    def pushes(self) -> Iterator[dict[str, Any]]:
        """What the supervisor sends after ``subscribe``, until it says good-bye or the connection ends.

        Raises ControlError with code ``cut`` if this client read too slowly.
        """
        while True:
            try:
                message = self._pushes.pop(0) if self._pushes else self._read()
            except Disconnected:
                return
            if message.get("push") == "cut":
                raise ControlError(f"cut off by the supervisor: {message.get('reason')}", "cut")
            yield message
            if message.get("push") == "bye":
                return

    def next_push(self, timeout: float) -> dict[str, Any] | None:
        """The next push; None if none comes within `timeout` seconds. Raises Disconnected, also at a good-bye."""
        if self._pushes:
            return self._pushes.pop(0)
        before = self._socket.gettimeout()
        self._socket.settimeout(max(timeout, 0.001))
        try:
            message = self._read()
        except ControlError as error:
            if error.code != "timeout":
                raise
            return None
        finally:
            self._socket.settimeout(before)
        if message.get("push") in {"bye", "cut"}:
            raise Disconnected(f"the supervisor has ended: {message.get('reason')}")
        return message

    def drain(self) -> None:
        """Read and discard what has come, without waiting: for a caller that only needs to know that something did.

        Raises Disconnected if the connection is over.
        """
        before = self._socket.gettimeout()
        # In spite of MSG_DONTWAIT, Python would wait for as long as the timeout.
        self._socket.setblocking(False)
        try:
            while True:
                data = self._socket.recv(READ_SIZE)
                if not data:
                    raise Disconnected("the supervisor has ended the connection")
        except BlockingIOError:
            return
        except OSError as error:
            raise Disconnected(f"the connection to the supervisor ended: {error.strerror or error}") from None
        finally:
            self._socket.settimeout(before)

    def wait_closed(self) -> None:
        """Wait until the supervisor has closed the connection, which it does when it ends."""
        try:
            while True:
                self._read()
        except Disconnected:
            return

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Disconnected(f"the connection to the supervisor ended: {error.strerror or error}") from None

    def _read(self) -> dict[str, Any]:
        import json  # noqa: PLC0415

        message: dict[str, Any] = json.loads(self._read_line())
        return message

    def _read_line(self) -> bytearray:
        looked_at = 0
        while (end := self._buffer.find(b"\n", looked_at)) < 0:
            looked_at = len(self._buffer)
            if looked_at > MAX_LINE:
                raise Disconnected("the supervisor sent a line that is too long")
            try:
                if self._socket.gettimeout() is None:
                    self._wait()
                data = self._socket.recv(READ_SIZE)
            except TimeoutError:
                raise ControlError("the supervisor did not answer in time", "timeout") from None
            except OSError as error:
                message = f"the connection to the supervisor ended: {error.strerror or error}"
                raise Disconnected(message) from None
            if not data:
                raise Disconnected("the supervisor ended before it answered")
            self._buffer += data
        line = self._buffer[: end + 1]
        del self._buffer[: end + 1]
        return line

    def _wait(self) -> None:
        """Wait until there is something to read, in turns of `TURN`.

        If a signal comes just as a system call is about to block, Python handles it only after that call, and a wait
        for events has no end: Ctrl-C would be lost.
        """
        import select  # noqa: PLC0415 - requests answered from memory have a timeout, and do without it

        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not poll.poll(TURN):
            pass


def call(
    path: str | os.PathLike[str],
    do: str,
    args: dict[str, Any] | None = None,
    *,
    client: str = "cli",
    timeout: float | None = None,
) -> dict[str, Any]:
    """Connect, send one request, and close. Raises what `Connection` and `Connection.call` raise."""
    with Connection(path, client=client, timeout=timeout) as connection:
        return connection.call(do, args)
