"""Copies log lines to the clipboard or a file, as plain text, and says what was done.

A terminal program reaches the clipboard by asking the terminal (OSC 52). Inside tmux that works only if tmux is set up
for it, so there tmux itself is asked.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.control.errors import ControlError
from paneview.control.model import LineView
from paneview.tui import words
from paneview.tui.files import here
from paneview.tui.logs import sgr
from paneview.tui.logs.feed import LogFeed

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

MOST_COPIED = 20_000  # lines: more is for a file
STEP = 1000
NEAR = 50  # most lines between two that are fetched together


async def copy_lines(app: PaneviewApp, feed: LogFeed, numbers: Sequence[int], *, save: bool) -> None:
    """Copy the lines with these numbers, or write them to a file in the current folder."""
    count = len(numbers)
    try:
        if save:
            app.tell(f"{words.plural(count, 'line')} saved to {await _save(app, feed, numbers)}")
            return
        if count > MOST_COPIED:
            app.tell(f"{count:,} lines are too many to copy: S saves them to a file", failed=True)
            return
        text = "\n".join([_plain(line) async for line in _lines(feed, numbers)])
        how = await to_clipboard(app, text)
    except ControlError as error:
        app.tell(f"copy: {error.message}", failed=True)
    except OSError as error:
        app.tell(f"save: {error.strerror}: {error.filename}", failed=True)
    else:
        app.tell(f"{words.plural(count, 'line')} copied {how}")


async def to_clipboard(app: PaneviewApp, text: str) -> str:
    """Put the text on the clipboard; returns how."""
    if os.environ.get("TMUX") and await _to_tmux(text):
        return "to tmux and the clipboard"
    app.copy_to_clipboard(text)
    return "by the terminal (OSC 52)"


async def _to_tmux(text: str) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "load-buffer",
            "-w",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:  # tmux cannot be run
        return False
    await process.communicate(text.encode("utf-8", "replace"))
    return process.returncode == 0


def _plain(line: LineView) -> str:
    """The text without colours; in a merged log, with the task's name."""
    text = sgr.plain(line.text)
    return f"{line.task}: {text}" if line.task else text


async def _save(app: PaneviewApp, feed: LogFeed, numbers: Sequence[int]) -> Path:
    stem = re.sub(r"[^\w.-]", "_", feed.task)
    path = here(f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}.log")
    part = path.with_name(f"{path.name}.part")  # a file with the final name is complete
    with part.open("x", encoding="utf-8", errors="replace") as file:
        try:
            with app.doing.under_way(f"saving {stem}") as far:
                written = 0
                async for line in _lines(feed, numbers):
                    file.write(f"{_plain(line)}\n")
                    written += 1
                    if written % STEP == 0:
                        far(f"{100 * written // len(numbers)} %")
            file.flush()
            _name(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path


def _name(part: Path, path: Path) -> None:
    """Give the file its final name, if no other has it. Raises OSError."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # the file system has no links
        part.rename(path)


async def _lines(feed: LogFeed, numbers: Sequence[int]) -> AsyncIterator[LineView]:
    """These lines; those near each other are fetched together."""
    at = 0
    while at < len(numbers):
        after = at + 1
        while (
            after < len(numbers)
            and numbers[after] - numbers[after - 1] <= NEAR
            and numbers[after] - numbers[at] < STEP
        ):
            after += 1
        wanted = numbers[at:after]
        known = set(wanted)
        for line in await feed.fetch(wanted[0], wanted[-1] + 1 - wanted[0]):
            if line.number in known:
                yield line
        at = after
