"""Points in time on the command line.

All times that are shown or given are UTC unless an offset says otherwise.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from paneview.cli.errors import UsageError
from paneview.config.units import SECONDS

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_when(text: str, option: str) -> float:
    """Epoch seconds of ``5m`` (ago), ``1h30m``, ``2024-01-01T14:00``, or epoch seconds. Raises UsageError."""
    pieces = _SPAN.findall(text)
    if pieces and "".join(number + unit for number, unit in pieces) == text:
        return time.time() - sum(float(number) * SECONDS[unit] for number, unit in pieces)
    if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
        return float(text)
    try:
        found = datetime.fromisoformat(text.removeprefix("~"))  # `logs` puts it before a rough time
    except ValueError:
        raise UsageError(
            f"{option} does not understand {text!r}",
            "give a span such as 30s, 5m, 2h, 1d or a time: 2024-01-01T14:00",
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def optional_when(text: str | None, option: str) -> float | None:
    """`parse_when`, or None for an option that was not given."""
    return None if text is None else parse_when(text, option)


def stamp(seconds: float) -> str:
    """A time as the logs show it: UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
