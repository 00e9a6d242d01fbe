"""Has a server begun to listen? One question to the kernel for all ports that are waited for.

A probe every 50 ms finds a server 25 ms late on average, and more frequent ones would cost more than the server's
start. Linux lists all TCP listeners in one answer (``NETLINK_SOCK_DIAG``, as used by ``ss -ltn``), in a fiftieth of a
millisecond and for all users. So while tasks are getting ready there is one such look every 15 ms, and a task whose
port appears is probed at once. The look decides nothing: where it is impossible (another system, a kernel without it),
or where a connection succeeds without a listener on this machine, the regular probes suffice.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Iterator

from paneview import proc

LOOK_EVERY = 0.015  # seconds between two looks at first
SHARE = 0.02  # the later interval between looks, as a share of the time waited so far
# NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP
_SOCK_DIAG, _BY_FAMILY, _DUMP = 4, 20, 0x301
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_LISTEN = 1 << 10  # the state TCP_LISTEN, as a bit
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_REQUEST = struct.Struct("=BBBBI48x")  # family, protocol, extensions, padding, states; any address
_END = _HEADER.size + 4  # bytes of the message that ends an answer
_PIECE = 1 << 16  # bytes; the kernel returns less at a time
_PORT = struct.Struct("!H")
_PORT_AT = 4  # offset in an answer: after family, state, timer and retransmissions
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Listening:
    """Looks for listeners on behalf of all waiters. Belongs to one event loop."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.usable = sys.platform == "linux"
        """Whether the kernel supports it."""
        self._waiting: dict[asyncio.Future[bool], tuple[int, float]] = {}  # port, seconds between looks
        self._timer: asyncio.TimerHandle | None = None
        # By family: the last answer and the ports in it.
        self._answers: dict[int, tuple[list[bytes], set[int]]] = {}

    async def wait(self, port: int, seconds: float, waited: float = 0.0) -> bool:
        """Wait up to ``seconds`` for a listener on this TCP port of the machine; returns whether there is one.

        ``waited``: seconds waited before this call; the longer, the rarer the looks.
        """
        if not self.usable:
            await asyncio.sleep(seconds)
            return False
        loop = asyncio.get_running_loop()
        found: asyncio.Future[bool] = loop.create_future()
        end = loop.call_later(seconds, _tell, found, False)
        self._waiting[found] = port, max(LOOK_EVERY, SHARE * waited)
        self._look_later()
        try:
            return await found
        finally:
            end.cancel()
            del self._waiting[found]

    def close(self) -> None:
        """Stop looking."""
        self.usable = False
        if self._timer:
            self._timer.cancel()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def _look_later(self) -> None:
        if self._timer is None and self._waiting and self.usable:
            pause = min(every for _, every in self._waiting.values())
            self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        try:
            ports = self._ports()
        except OSError as error:
            if error.errno not in proc.SCARCE:  # this kernel does not support it
                self.close()
                return
            self._hang_up()  # half an answer may be left in the socket
            ports = set()
        for found, (port, _) in self._waiting.items():
            if port in ports:
                _tell(found, True)
        self._look_later()

    def _ports(self) -> set[int]:
        """The ports with a listener. Raises OSError if the kernel does not tell."""
        if self._socket is None:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_NETLINK, kind, _SOCK_DIAG)
        return set().union(*(self._ports_of(self._socket, family) for family in _FAMILIES))

    def _ports_of(self, link: socket.socket, family: int) -> set[int]:
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _LISTEN)
        link.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _DUMP, 1, 0) + body)
        pieces = [link.recv(_PIECE)]
        while not _is_last(pieces[-1]):
            pieces.append(link.recv(_PIECE))
        known = self._answers.get(family)
        if known is None or known[0] != pieces:  # the answer is nearly always the same as last time
            known = self._answers[family] = pieces, {port for piece in pieces for port in _ports_in(piece)}
        return known[1]


def _tell(found: asyncio.Future[bool], somebody: bool) -> None:
    if not found.done():
        found.set_result(somebody)


def _is_last(piece: bytes) -> bool:
    """Whether the answer ends with this piece: it is an error, or its last message is the end."""
    if _HEADER.unpack_from(piece, 0)[1] in (_ERROR, _DONE):
        return True
    length, kind, *_ = _HEADER.unpack_from(piece, len(piece) - _END)
    return bool(length == _END and kind == _DONE)


def _ports_in(piece: bytes) -> Iterator[int]:
    """The ports in this piece of an answer. Raises OSError for an error message."""
    at = 0
    while at < len(piece):
        length, kind, *_ = _HEADER.unpack_from(piece, at)
        if kind == _ERROR:
            raise OSError("the kernel does not list listeners")
        if kind != _DONE:
            yield _PORT.unpack_from(piece, at + _HEADER.size + _PORT_AT)[0]
        at += (length + 3) & ~3
