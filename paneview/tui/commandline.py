"""The command line's own verbs, for what the supervisor is not asked for: run beside the screen, or told why not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple

from paneview.tui.text import clean

NO_SUPERVISOR = 3  # the exit status that says that nobody supervises, and nothing is left to
_CANNOT_RUN = 126  # as a shell has it


class Done(NamedTuple):
    """A command that has ended: its exit status, and what it said of an error."""

    status: int
    said: str


def words_of(verb: str, *words: str) -> list[str]:
    """``paneview VERB WORDS…`` as a program's arguments."""
    return [sys.executable, "-P", "-m", "paneview", verb, *words]


async def run(verb: str, words: Sequence[str]) -> Done:
    """Run it to its end. What the system does not let begin (an argument is too long) has failed as any other."""
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
