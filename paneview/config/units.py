"""Sizes and lengths of time as people write them: ``10MB``, ``7d``."""

from __future__ import annotations

import math
import re

_SIZES = {"": 1, "B": 1, "K": 2**10, "KB": 2**10, "M": 2**20, "MB": 2**20, "G": 2**30, "GB": 2**30}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NUMBER_AND_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def parse_size(text: str) -> int:
    """Bytes of ``10MB`` (units of 1024). Raises ValueError."""
    number, unit = _split(text)
    if unit.upper() not in _SIZES or number * _SIZES[unit.upper()] < 1:
        raise ValueError(f"{text!r} is not a size: write it as 500KB, 10MB or 1GB")
    return int(number * _SIZES[unit.upper()])


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``30s``, ``5m``, ``2h``, ``7d`` or ``1w``. Raises ValueError."""
    number, unit = _split(text)
    seconds = SECONDS.get(unit or "s")
    if seconds is None or number <= 0:
        raise ValueError(f"{text!r} is not a length of time: write it as 30s, 5m, 2h, 7d or 1w")
    return number * seconds


def _split(text: str) -> tuple[float, str]:
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if match is None or not math.isfinite(float(match[1])):  # some hundred digits are infinity
        return 0.0, "?"
    return float(match[1]), match[2]
