"""The agent programs paneview knows: one small module each.

Each has ``argv(runner, request)``, the program and its arguments (never the prompt, which is passed on standard input),
and a class ``Reader``, which parses what the program prints. ``ENV`` is added to its environment, ``RESUMES`` says
whether it can resume a session, ``LOG`` names a file in the run's folder that it also writes.

Values from a job follow ``--flag=`` or ``--flag`` and never reach a shell.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol, cast

from paneview.agents.model import RunRequest
from paneview.agents.parsing import Parser
from paneview.config.workflows.roles import Runner


class Preset(Protocol):
    """The interface of each module here."""

    ENV: Mapping[str, str]
    RESUMES: bool
    LOG: str
    Reader: type[Parser]

    def argv(self, runner: Runner, request: RunRequest) -> list[str]:
        """The program and its arguments."""


def preset_of(runner: Runner) -> Preset:
    """The preset of a runner's program."""
    return _load(runner.preset or "plain")


def reader_of(runner: Runner) -> Parser:
    """A new reader for what a runner's program prints."""
    return _load(runner.parser).Reader()


def _load(name: str) -> Preset:
    return cast("Preset", importlib.import_module(f"paneview.agents.presets.{name}"))
