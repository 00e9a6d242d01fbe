"""Sleeping until a folder changes: inotify for writes of this host; regular looks find those of other hosts."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from pathlib import Path

from paneview.broker.directory.disk import make_folder
from paneview.broker.directory.layout import Layout
from paneview.broker.waiting import EVENTS, Topics
from paneview.rules.jobs import JobState
from paneview.store.watch import InotifyWatch


class FolderBell:
    """See `paneview.broker.waiting.Bell`."""

    def __init__(self, layout: Layout, topics: Topics) -> None:
        self.called_off = False
        folders = {folder for topic in topics for folder in _folders(layout, topic)}
        for folder in folders:
            make_folder(folder)
        self._wake_up, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        # A closed pipe's descriptors may be reused for another file, hence the lock. It is reentrant because a signal
        # handler may interrupt a thread that holds it.
        self._open, self._closing = True, threading.RLock()
        try:
            self._watch: InotifyWatch | None = InotifyWatch(*map(Path, sorted(folders)))
        except (OSError, AttributeError):  # no instances left, or not Linux: regular looks must do
            self._watch = None

    def wait(self, timeout: float) -> None:
        """Sleep until something changes."""
        sources: list[int] = [self._wake_up]
        if self._watch is not None and (descriptor := self._watch.fileno()) is not None:
            sources.append(descriptor)
        poll = select.poll()
        for source in sources:
            poll.register(source, select.POLLIN)
        poll.poll(max(0, round(timeout * 1000)) + 1)
        if self._watch is not None:
            self._watch.changed()

    def call_off(self) -> None:
        """Wake the waiter for good."""
        self.called_off = True
        with self._closing, suppress(OSError):
            if self._open:
                os.write(self._wake, b"!")

    def close(self) -> None:
        """Remove the watch and the pipe."""
        if self._watch is not None:
            self._watch.close()
        with self._closing:
            self._open = False
            os.close(self._wake_up)
            os.close(self._wake)


def _folders(layout: Layout, topic: str) -> list[str]:
    if topic == EVENTS:
        return [layout.logs]
    if topic.startswith("="):
        return [layout.results]
    if topic.startswith("@"):
        return [f"{layout.own}/cancel"]
    lane = layout.lane(JobState.QUEUED, topic)
    return [
        lane,
        layout.lane(JobState.DELAYED, topic),
        *([layout.tasks] if topic == "any" or topic[0] == "h" else []),
    ]
