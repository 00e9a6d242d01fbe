"""Ringing bells: one datagram to each socket."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

RING = b"."


def push(paths: Iterable[str]) -> list[str]:
    """Ring each, if there is a socket to be had; the paths at which nobody listens any more."""
    dead = []
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in paths:
            try:
                sender.sendto(RING, path)
            except BlockingIOError:
                continue  # full of rings that its owner has not answered yet
            except OSError:
                dead.append(path)
    return dead
