"""Occasional queries about single processes, mostly by psutil: owners, open files, listeners on a port.

A separate module because psutil takes 14 ms to import, too long for a supervisor that is taking over.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from paneview.proc.ids import ProcessId, identify

_LISTEN = "0A"  # TCP_LISTEN, as the kernel writes it


def owner(pid: int) -> int | None:
    """The real user id of a process; None if it is gone."""
    try:
        return psutil.Process(pid).uids().real
    except psutil.Error:
        return None


def open_files(pid: int) -> list[str]:
    """The paths of the files a process has open; empty if it is gone or not accessible."""
    try:
        return [file.path for file in psutil.Process(pid).open_files()]
    except (psutil.Error, OSError):
        return []


def listeners(port: int) -> tuple[list[ProcessId], bool]:
    """The processes that hold a socket listening on a TCP port, and whether there are any we may not see.

    Includes all that share such a socket: the port is free only when the last of them is gone.
    """
    pids, hidden = _holders(port) if sys.platform == "linux" else _owners(port)
    return sorted({process for pid in pids if (process := identify(pid))}), hidden


def _owners(port: int) -> tuple[set[int], bool]:
    pids: set[int] = set()
    hidden = False
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or getattr(connection.laddr, "port", None) != port:
            continue
        if connection.pid is None:
            hidden = True
        else:
            pids.add(connection.pid)
    return pids, hidden


def _holders(port: int) -> tuple[set[int], bool]:
    """Like `_owners`, but with all processes: psutil names only one per socket, even if others have inherited it."""
    sockets, pids = _listening(port), set[int]()
    left = set(sockets)
    for pid in psutil.pids() if sockets else ():
        if held := sockets & _descriptors(pid):
            pids.add(pid)
            left -= held
    return pids, bool(left) and not left.isdisjoint(_listening(port))  # they may have been closed meanwhile


def _listening(port: int) -> set[str]:
    """The sockets listening on the port, in the form of a descriptor's link: ``socket:[INODE]``."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:  # a kernel without IPv6
            continue
        for row in map(str.split, rows):
            if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{row[9]}]")
    return found


def _descriptors(pid: int) -> set[str]:
    """The link targets of a process's descriptors; empty if it is gone or not accessible."""
    folder = f"/proc/{pid}/fd"
    found: set[str] = set()
    try:
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed meanwhile
                found.add(os.readlink(f"{folder}/{name}"))
    except OSError:
        pass
    return found
