"""What the queue's commands share: opening the queue, and reading what was typed.

They talk to the queue directly, so they work whether or not a supervisor runs.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from paneview.broker.errors import UnavailableError
from paneview.cli.errors import USAGE, CliError, UsageError
from paneview.cli.output import clean
from paneview.config.queue import QueuePlace, QueueSettings, find_queue
from paneview.config.units import SECONDS
from paneview.worker.joining import connect, connect_to

if TYPE_CHECKING:
    from paneview.broker import Broker
    from paneview.cli.parser import Call

AGAIN = 1.0  # seconds until a queue that does not answer is asked again
_UNITS = {"ms": 0.001, **SECONDS}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw]?)")


def place_of(call: Call, *, make: bool = False) -> QueuePlace:
    """The queue that the command is for; ``make``: create its state folder. Raises ConfigError, CliError."""
    file = call.text("file")
    if file and not os.path.exists(file):
        raise CliError(f"{file}: no such file", USAGE, code="config")
    return find_queue({"broker": call.text("broker"), "host": None}, file, make=make)


def is_alone(call: Call) -> bool:
    """Whether the environment names a queue and there is no project, which is how PaneBus is used."""
    if call.text("file") or os.environ.get("PANEVIEW_FILE"):
        return False
    where = place_of(call)
    return where.file is None and where.settings.broker != QueueSettings().broker


@contextmanager
def opened(call: Call) -> Iterator[Broker]:
    """The queue that the command is for, opened. Raises BrokerError and what `place_of` raises."""
    with connect_to(place_of(call, make=True)) as broker:
        yield broker


@contextmanager
def read_only(call: Call) -> Iterator[Broker]:
    """The same, but a queue that does not exist yet is empty, and is not created."""
    with look_at(place_of(call)) as broker:
        yield broker


@contextmanager
def look_at(place: QueuePlace) -> Iterator[Broker]:
    """The queue of a place, opened; a file that does not exist yet is an empty queue, and is not created."""
    url = place.settings.broker
    file = place.folder / "queue.db" if url == QueueSettings().broker else None
    if file is None or file.exists():
        with connect_to(place) as broker:
            yield broker
        return
    with (
        TemporaryDirectory(prefix="paneview-queue-") as folder,
        connect(place.settings, Path(folder)) as broker,
    ):
        broker.url = broker.address = f"sqlite://{file}"
        yield broker


class Outage:
    """Waits out an outage of the queue, telling of its begin and its end once."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._away = False

    def wait(self, error: UnavailableError) -> None:
        """Wait a moment, as the queue does not answer."""
        if not self._away and not self._quiet:
            print(f"! {clean(str(error))}; waiting for it", file=sys.stderr)
        self._away = True
        time.sleep(AGAIN)  # what has an own patience, as Redis, has waited already

    def over(self) -> None:
        """Note that the queue has answered."""
        if self._away and not self._quiet:
            print("! the queue answers again", file=sys.stderr)
        self._away = False


def span(text: str | None, option: str, bare: str = "s") -> float | None:
    """Seconds of ``90``, ``300s``, ``5m``, ``500ms``, ``7d``; a bare number is in ``bare``. Raises UsageError."""
    if text is None:
        return None
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} does not understand {text!r}", "give a time such as 30s, 5m, 2h or 7d")
    return float(match[1]) * _UNITS[match[2] or bare]


def seconds(call: Call, key: str, bare: str = "s") -> float | None:
    """The option's value as a number of seconds above 0; a bare number is in ``bare``. Raises UsageError."""
    found = span(call.text(key), f"--{key}", bare)
    if found is not None and found <= 0:
        raise UsageError(f"--{key} needs a time above 0")
    return found


def me() -> str:
    """Who submits: ``user@host``."""
    from paneview.config.queue import host_name  # noqa: PLC0415 - for those who submit
    from paneview.worker.fates import submitter  # noqa: PLC0415

    return submitter(host_name())
