"""The socket's file: who may own its folder, how a stale one is replaced, who is at the other end."""

from __future__ import annotations

import os
import socket
import stat
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG = 128


class UnsafeSocket(Exception):  # noqa: N818 - says what it is
    """The socket cannot be created there safely; the message says why and what to do."""


def listen(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, mode 0600 in a folder of mode 0700 that belongs to this user.

    A socket left there by a supervisor that was killed is replaced: the caller holds the project's lock, so
    nothing can be listening. Raises UnsafeSocket for a folder or file of someone else, OSError if the system
    refuses.
    """
    prepare_folder(path.parent)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # no race: other users cannot enter the folder
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def prepare_folder(folder: Path) -> None:
    """Create `folder` if needed, give it mode 0700, and refuse one that someone else owns or could replace."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeSocket(f"{folder} is not a folder; remove it")
    if found.st_uid != os.geteuid():
        raise UnsafeSocket(
            f"{folder} belongs to user {found.st_uid}; set PANEVIEW_HOME to a folder of your own"
        )
    # In a folder such as /tmp anyone may have created a folder of our path, and could replace what is below it.
    for step in folder.parents:
        if step != step.parent and step.parent.stat().st_mode & stat.S_IWOTH:
            owner = step.lstat().st_uid
            if owner not in {0, os.geteuid()}:
                raise UnsafeSocket(
                    f"{step} belongs to user {owner}; set PANEVIEW_HOME to a folder of your own"
                )
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UnsafeSocket(f"{path} is in the way and is not a socket; remove it")
    path.unlink()


def remove(path: Path, inode: int) -> None:
    """Remove the socket's file, unless another supervisor has put its own there since."""
    try:
        if path.lstat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        pass


def peer(connection: socket.socket) -> tuple[int | None, int | None]:
    """The (pid, uid) of the process at the other end; None where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None, None  # outside Linux the folder's mode alone keeps others out
    size = struct.calcsize("3i")
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid
