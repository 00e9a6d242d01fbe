"""Sleeping on lists: a token in any of them wakes."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import Any

from redis import exceptions

from paneview.broker.redis.link import BLOCK, Link
from paneview.broker.waiting import Topics

_CALL_OFF = "!"


class ListBell:
    """See `paneview.broker.waiting.Bell`."""

    def __init__(self, link: Link, topics: Topics) -> None:
        self.called_off = False
        self._link = link
        name = uuid.uuid4().hex
        jobs = [topic[1:] for topic in topics if topic.startswith("=")]
        if jobs:
            link.call("listen", name, *jobs)
        self._own = f"{link.base}wake:{name}"
        self._keys = [f"{link.base}wake:{topic}" for topic in topics if not topic.startswith("=")]

    def wait(self, timeout: float) -> None:
        """Sleep until a token comes; briefly while the server is away, since the look that follows reports that."""
        seconds = min(max(timeout, 0.001), BLOCK)
        try:
            token = self._link.ask("BLPOP", self._own, *self._keys, seconds)
        except exceptions.RedisError:
            time.sleep(min(timeout, 0.1))
            return
        self.called_off = self.called_off or (token is not None and token[1] == _CALL_OFF)

    def call_off(self) -> None:
        """Wake the waiter for good."""
        self.called_off = True
        client: Any = self._link.client
        with suppress(exceptions.RedisError):  # then the wait ends on its own
            client.lpush(self._own, _CALL_OFF)
            client.pexpire(self._own, 60_000)

    def close(self) -> None:
        """Nothing to remove: its keys expire on their own."""
