"""Runs verbs of the command line as programs, for what is no request to the supervisor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple

from paneview.tui.text import clean

NO_SUPERVISOR = 3  # exit status: there is no supervisor, and nothing left to supervise
_CANNOT_RUN = 126  # as in a shell


class Done(NamedTuple):
    """A command that has ended: its exit status, and what it wrote to standard error."""

    status: int
    said: str


def words_of(verb: str, *words: str) -> list[str]:
    """``paneview VERB WORDS…`` as a program's arguments."""
    return [sys.executable, "-P", "-m", "paneview", verb, *words]


async def run(verb: str, words: Sequence[str]) -> Done:
    """Run it to its end. If the system cannot start it (an argument is too long), it has failed like any other."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words_of(verb, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except (OSError, ValueError) as error:  # a null byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Done(_CANNOT_RUN, f"{verb}: {clean(reason)}")
    _, said = await process.communicate()
    return Done(process.returncode or 0, _words(said))


def _words(said: bytes) -> str:
    return clean(said.decode("utf-8", "replace").strip()).removeprefix("paneview: ")
