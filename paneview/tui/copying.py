"""Log lines to the clipboard or a file, as clean text, and a word on what was done.

A terminal program reaches the clipboard by asking the terminal (OSC 52). Inside tmux that passes only where tmux is set
up for it, so there tmux itself is asked.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from paneview.control.errors import ControlError
from paneview.control.model import LineView
from paneview.tui import sgr, words
from paneview.tui.logfeed import LogFeed

if TYPE_CHECKING:
    from paneview.tui.app import PaneviewApp

MOST_COPIED = 20_000  # lines: more is for a file
STEP = 5000


async def copy_lines(app: PaneviewApp, feed: LogFeed, first: int, last: int, *, save: bool) -> None:
    """Copy lines ``first`` to ``last``, or write them to a file in the current folder."""
    count = last - first + 1
    try:
        if save:
            app.tell(f"{words.plural(count, 'line')} saved to {await _save(feed, first, count)}")
            return
        if count > MOST_COPIED:
            app.tell(f"{count:,} lines are too many to copy: S saves them to a file", failed=True)
            return
        text = "\n".join([_plain(line) for line in await feed.fetch(first, count)])
        how = await to_clipboard(app, text)
    except ControlError as error:
        app.tell(f"copy: {error.message}", failed=True)
    except OSError as error:
        app.tell(f"save: {error.strerror}: {error.filename}", failed=True)
    else:
        app.tell(f"{words.plural(count, 'line')} copied {how}")


async def to_clipboard(app: PaneviewApp, text: str) -> str:
    """Put the text on the clipboard; returns how."""
    if os.environ.get("TMUX"):
        process = await asyncio.create_subprocess_exec(
            "tmux",
            "load-buffer",
            "-w",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.communicate(text.encode("utf-8", "replace"))
        if process.returncode == 0:
            return "to tmux and the clipboard"
    app.copy_to_clipboard(text)
    return "by the terminal (OSC 52)"


def _plain(line: LineView) -> str:
    """The text without colours; of a merged log with the task's name."""
    text = sgr.plain(line.text)
    return f"{line.task}: {text}" if line.task else text


async def _save(feed: LogFeed, first: int, count: int) -> Path:
    stem = re.sub(r"[^\w.-]", "_", feed.task)
    path = Path.cwd() / f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}.log"
    with path.open("x", encoding="utf-8", errors="replace") as file:
        while count > 0:
            for line in await feed.fetch(first, min(STEP, count)):
                file.write(f"{_plain(line)}\n")
            first, count = first + STEP, count - STEP
    return path
