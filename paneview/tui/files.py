"""The files of a folder, for completing names: those that git tracks or does not ignore, else all.

Also the path of a new file.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

MOST = 20_000  # names
LONGEST = 10.0  # s that git may take
_LEFT_OUT = frozenset({"node_modules", "__pycache__", "venv", "target", "dist"})


def here(name: str) -> Path:
    """The path of a file in the current folder. Raises FileNotFoundError, worded for people, if that folder is gone."""
    try:
        return Path.cwd() / name
    except FileNotFoundError:
        known = os.environ.get("PWD", ".")
        told = "the folder that paneview was started in is gone"
        raise FileNotFoundError(errno.ENOENT, told, known) from None


async def files_of(folder: Path) -> list[str]:
    """The files' names relative to the folder, and its folders with a ``/`` at the end; empty if it is no folder."""
    names = await _known_to_git(folder)
    if names is None:
        names = await asyncio.to_thread(_walk, folder)
    found = dict.fromkeys(name for name in names if name.isprintable())
    folders = {f"{parent}/" for name in found for parent in _parents(name)}
    return sorted([*found, *folders])


async def _known_to_git(folder: Path) -> list[str] | None:
    """The names that git lists; None without git, outside a work tree, or if git takes too long."""
    command = ["git", "-c", "core.fsmonitor=false"]  # a program that an agent may have named
    command += ["-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(LONGEST):
            said, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        return None
    return [os.fsdecode(name) for name in said.split(b"\0")[:MOST] if name]


def _walk(folder: Path) -> list[str]:
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _LEFT_OUT)
        here = os.path.relpath(place, folder)
        found += [name if here == "." else f"{here}/{name}" for name in sorted(names)]
        if len(found) >= MOST:
            break
    return found[:MOST]


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: at + 1]) for at in range(len(parts))]
