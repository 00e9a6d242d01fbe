"""What is asked of single processes now and then, by psutil: owners, listeners on a port.

Apart from the rest of the room because psutil takes 14 ms to import, which a supervisor that takes over does not have.
"""

from __future__ import annotations

import psutil

from paneview.proc.ids import ProcessId, identify


def owner(pid: int) -> int | None:
    """The real user id it runs under; None if it is gone."""
    try:
        return psutil.Process(pid).uids().real
    except psutil.Error:
        return None


def listeners(port: int) -> tuple[list[ProcessId], bool]:
    """The processes that listen on a TCP port, and whether there is one that we may not see."""
    found: set[ProcessId] = set()
    hidden = False
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or getattr(connection.laddr, "port", None) != port:
            continue
        if connection.pid is None:
            hidden = True
        elif process := identify(connection.pid):
            found.add(process)
    return sorted(found), hidden
