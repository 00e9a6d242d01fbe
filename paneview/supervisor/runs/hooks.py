"""Hooks: the user's shell commands around a task's start and stop, the project's around the task's own.

Order: project before_start, task before_start, the task, task after_start, project after_start; for a stop: project
before_stop, task before_stop, the stop, task after_stop, project after_stop. A failing ``before_*`` prevents the start
or stop; a failing ``after_*`` is recorded and changes nothing. What a hook prints goes into the task's log.

Tasks start at the same time, and a project's hook is one command for all of them. Around starts it runs for one task
after the other: two migrations at once, or two `docker compose up`, are what nobody has written it for. Stops do not
queue: one hook that hangs would hold up all of a `down`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Literal, Protocol

from paneview import proc
from paneview.config.models import Hooks as Commands
from paneview.config.models import Task
from paneview.health.shell import describe_end, run_command

logger = logging.getLogger(__name__)

MAX_OUTPUT = 256 * 1024  # bytes of a hook's output that are kept
END_WITHIN = 2.0  # seconds that a takeover waits for the end of what a killed supervisor has left

Moment = Literal["before_start", "after_start", "before_stop", "after_stop"]


class HookFailed(Exception):  # noqa: N818 - what happened, in the words of the rules
    """A ``before_*`` hook failed, so the start or stop does not happen. The message says which hook, and why."""


class Output(Protocol):
    """Where a hook's output goes."""

    def append(self, run: int, task: str, data: bytes) -> None:
        """Add lines to the task's log."""
        ...


class Hooks:
    """Runs the hooks of a project. ``environ`` is what tasks inherit; ``key`` begins every environment marker."""

    def __init__(self, project: Commands, environ: Mapping[str, str], output: Output, key: str) -> None:
        self.project = project
        self._environ = environ
        self._output = output
        self._key = key
        self._turns: defaultdict[Moment, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def before(self, moment: Literal["before_start", "before_stop"], task: Task, run: int) -> None:
        """Run the hooks before a start or stop.

        Raises HookFailed at the first that fails; before a start, OSError if resources are short.
        """
        for whose, commands in (("project", self.project), ("task", task.hooks)):
            if failure := await self._in_turn(whose, moment, commands, task, run):
                raise HookFailed(failure)

    async def after(self, moment: Literal["after_start", "after_stop"], task: Task, run: int) -> str:
        """Run the hooks after a start or stop; returns what went wrong, or the empty string."""
        failures = [
            await self._in_turn(whose, moment, commands, task, run)
            for whose, commands in (("task", task.hooks), ("project", self.project))
        ]
        return "; ".join(failure for failure in failures if failure)

    async def end_left(self, ran: Collection[int], stopping: Collection[int]) -> None:
        """End the hooks that a killed supervisor has left at work before a start or a stop: they run once more.

        ``ran``: all runs that had a process, so the hooks before their start are over; what those have left behind on
        purpose stays. ``stopping``: runs whose hooks before the stop are not over.
        """
        hook = re.compile(rf"{re.escape(self._key)}-(\d+)-(before_start|before_stop)-")

        def at_work(marker: str) -> bool:
            if (found := hook.match(marker)) is None:
                return False
            run = int(found[1])
            return run not in ran if found[2] == "before_start" else run in stopping

        def find(table: proc.ProcessTable) -> set[proc.ProcessId]:
            marked = table.marked(self._key).items()
            return {process for marker, processes in marked if at_work(marker) for process in processes}

        if not await proc.kill_until_gone(find, END_WITHIN):
            logger.error("hooks of an earlier supervisor go on: SIGKILL does not end them")

    async def _in_turn(self, whose: str, moment: Moment, commands: Commands, task: Task, run: int) -> str:
        """Run one hook, if there is one; returns what went wrong, or the empty string."""
        command: str | None = getattr(commands, moment)
        if command is None:
            return ""
        if whose == "task" or moment in ("before_stop", "after_stop"):
            return await self._run(whose, moment, commands, command, task, run)
        async with self._turns[moment]:
            return await self._run(whose, moment, commands, command, task, run)

    async def _run(
        self, whose: str, moment: Moment, commands: Commands, command: str, task: Task, run: int
    ) -> str:
        environ = {**self._environ, **task.env, "PANEVIEW_TASK": task.name, "PANEVIEW_HOOK": moment}
        marker = f"{self._key}-{run}-{moment}-{whose}"
        name = f"{whose} {moment} hook"
        try:
            done = await run_command(
                command,
                env=environ,
                cwd=task.checks_cwd or task.cwd,
                marker=marker,
                limit=commands.timeout,
                keep=MAX_OUTPUT,
            )
        except OSError as error:
            if moment == "before_start" and error.errno in proc.SCARCE:
                raise  # that passes, and the start is tried again
            return f"{name} could not be run: {error}"
        except Exception as error:  # a start or a stop waits for the result
            logger.exception("%s: the %s failed", task.name, name)
            return f"{name} could not be run: internal error: {error!r}"
        try:
            if done.output:
                self._output.append(run, task.name, done.output)
        except Exception:  # it has run all the same
            logger.exception("%s: what the %s printed is lost", task.name, name)
        if done.code == 0:
            return ""
        return f"{name} failed: {describe_end(done.code, commands.timeout)}{_last_line(done.output)}"


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""


def inherited(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment that tasks and hooks inherit: ours without the variables of our own pane."""
    ours = ("TMUX", "TMUX_PANE", "PANEVIEW_RUN", "PANEVIEW_TASK")
    return {key: value for key, value in environ.items() if key not in ours}
