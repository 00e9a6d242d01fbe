"""Probing a run: frequently until it is ready, and at once when its port opens, then at the task's own interval.

The result of each probe is yielded as it comes; counting failures and drawing conclusions is up to the rules.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import count
from typing import Protocol

from msgspec import Struct

from paneview.config.models import Task
from paneview.health import Listening, LogMatcher, ProbeResult, ProbeSpec, run_probe
from paneview.store.database import StoreError

logger = logging.getLogger(__name__)

AGAIN = 1.0  # seconds at least until the next probe after one that failed by itself
FIRST_INTERVAL = 0.05  # seconds between the first probes, and the least between any two
SHARE = 0.05  # the interval before the task is ready, as a share of the time waited: so none is found much too late

# The least seconds between probes that cannot succeed before the task listens, which is noticed by other means.
UNASKED = 0.2


class Probes(Struct):
    """What clients see of a run's probes."""

    detail: str = ""
    """That of the last result, for people."""
    failed: int = 0
    """Failures in a row."""
    next_at: float | None = None
    """When the next one comes, in epoch seconds; None if that is not known."""

    def heard(self, result: ProbeResult, pause: float | None, now: float) -> None:
        """Note a result; the next probe comes ``pause`` seconds from ``now``."""
        self.detail = result.detail
        self.next_at = None if pause is None else now + pause
        if result.asked:
            self.failed = 0 if result.ok else self.failed + 1


class Log(Protocol):
    """Where a run's output can be read, for `health_log`."""

    async def new_lines(self, task: str, run: int, first: int) -> tuple[list[bytes], int, int]:
        """Some of the run's lines from number ``first`` on, the number to go on from, and that of the last line."""
        ...


class Prober:
    """Runs the probes of tasks. ``environ`` is what they inherit; every environment marker begins with ``key``."""

    def __init__(self, environ: Mapping[str, str], key: str, log: Log) -> None:
        self._environ = environ
        self._key = key
        self._log = log
        self._grown: dict[str, asyncio.Event] = {}
        self._listening = Listening()
        self._asked = count(1)  # for markers: a probe that is ended takes along all that has its own
        self.last: dict[str, ProbeResult] = {}
        self.pause: dict[str, float] = {}
        """Seconds from a task's last probe to the next one, as long as that one fails."""

    def grown(self, heads: Mapping[str, int]) -> None:
        """Note that the logs of these tasks have grown."""
        for task in heads:
            if event := self._grown.get(task):
                event.set()

    def forget(self, task: str) -> None:
        """Forget a task that no longer has a probe."""
        self.last.pop(task, None)
        self.pause.pop(task, None)

    async def probe(self, task: Task, run: int, ready: Callable[[], bool]) -> AsyncIterator[ProbeResult]:
        """Probe for ever; the caller ends it by cancelling."""
        probe = self._read_log if task.health_log else self._ask
        while True:
            try:
                async for result in probe(task, run, ready):
                    self.last[task.name] = result
                    yield result
            except (
                Exception
            ) as error:  # no thread may be left, or it is a defect: nobody else would probe it again
                logger.exception("%s: a probe failed", task.name)
                yield ProbeResult(False, f"it cannot be asked: {error!r}", asked=False)
                await asyncio.sleep(max(task.health_interval, AGAIN))
            else:
                return

    async def _ask(self, task: Task, run: int, ready: Callable[[], bool]) -> AsyncIterator[ProbeResult]:
        spec = ProbeSpec.of(task)
        if spec is None:
            return
        environ = {**self._environ, **task.env, "PANEVIEW_TASK": task.name}
        loop = asyncio.get_running_loop()
        began = loop.time()
        port = spec.local_port(task)

        def pause(result: ProbeResult, waited: float) -> float:
            seconds = _pause(task, result, waited, ready=ready())
            if port is None or ready() or not (spec.needs_listener and self._listening.usable):
                return seconds
            return max(seconds, min(max(UNASKED, waited), task.health_interval))

        cwd = task.checks_cwd or task.cwd
        while True:
            marker = f"{self._key}-{run}-probe-{next(self._asked)}"
            result = await run_probe(spec, env=environ, cwd=cwd, marker=marker)
            waited = loop.time() - began
            self.pause[task.name] = pause(result, waited)
            yield result
            seconds = pause(result, waited)  # the task may be ready by now
            if port is None or ready():
                await asyncio.sleep(seconds)
            elif await self._listening.wait(port, seconds, waited):
                port = None  # it listens; whether it also answers is probed at the usual pace

    async def _read_log(self, task: Task, run: int, ready: Callable[[], bool]) -> AsyncIterator[ProbeResult]:
        assert task.health_log
        matcher, first = LogMatcher(task.health_log), 0
        grown = self._grown[task.name] = asyncio.Event()
        known: int | None = None
        began = asyncio.get_running_loop().time()
        while True:
            grown.clear()
            try:
                lines, first, last = await self._log.new_lines(task.name, run, first)
            except (StoreError, OSError) as error:  # it passes, and says nothing about the task
                unread = ProbeResult(False, f"its log cannot be read: {error}", asked=False)
                yield unread
                waited = asyncio.get_running_loop().time() - began
                await asyncio.sleep(_pause(task, unread, waited, ready=ready()))
                continue
            # On a thread, because a pattern may take long.
            if await asyncio.to_thread(matcher.feed, lines):
                yield ProbeResult(True, f"log: {matcher.matched}")
                return
            known = last if known is None else known
            if first < known:
                continue  # there is more than one read returns
            known = None
            trouble = f" ({matcher.trouble})" if matcher.trouble else ""
            yield ProbeResult(False, f"no line has matched {task.health_log!r} yet{trouble}")
            if first < last:
                continue
            try:
                async with asyncio.timeout(task.health_interval):
                    await grown.wait()
            except TimeoutError:
                continue


def _pause(task: Task, result: ProbeResult, waited: float, *, ready: bool) -> float:
    """Seconds until the next probe. The task's own interval runs from the start of one probe to that of the next."""
    if ready:
        return max(FIRST_INTERVAL, task.health_interval - result.duration)
    return min(max(FIRST_INTERVAL, SHARE * waited), task.health_interval)
