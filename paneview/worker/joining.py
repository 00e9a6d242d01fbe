"""Connecting to a queue: from settings to a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from paneview.broker import Broker, Settings, open_broker

if TYPE_CHECKING:
    from pathlib import Path

    from paneview.config.queue import QueuePlace, QueueSettings


def broker_settings(settings: QueueSettings, look: float | None = None) -> Settings:
    """The queue's settings in the broker's form; ``look``: seconds between two looks of a waiting worker."""
    made = Settings(
        max_depth=settings.max_queue_depth or None,
        lease=settings.lease,
        timeout=settings.command_timeout,
        max_attempts=settings.max_attempts,
    )
    return made if look is None else made._replace(look=look)


def connect(settings: QueueSettings, folder: Path, look: float | None = None) -> Broker:
    """Open the queue; ``folder`` holds the project's own queue, if the URL names no place. Raises BrokerError."""
    return open_broker(settings.broker, project_dir=folder, settings=broker_settings(settings, look))


def connect_to(place: QueuePlace, look: float | None = None) -> Broker:
    """Open the queue of a place. Raises BrokerError."""
    return connect(place.settings, place.folder, look)


def shown_url(url: str) -> str:
    """A URL without its password."""
    try:
        password = urlsplit(url).password
    except ValueError:  # the password can't be located
        return f"{url.partition(':')[0]}://…"
    return url if not password else url.replace(f":{password}@", ":…@", 1)
