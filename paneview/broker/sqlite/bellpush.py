"""Ringing bells: one datagram to each socket."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

RING = b"."


def push(paths: Iterable[str]) -> list[str]:
    """Ring each bell, if a socket can be opened; returns the paths at which nothing listens any more."""
    dead = []
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in paths:
            try:
                sender.sendto(RING, path)
            except BlockingIOError:
                continue  # full of rings that its owner has not read yet
            except OSError:
                dead.append(path)
    return dead
