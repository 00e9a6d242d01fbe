from __future__ import annotations

import time

import pytest

from paneview.cli.errors import UsageError
from paneview.cli.times import parse_when, stamp


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1.5h", 5400)]
)
def test_a_span_is_ago(text: str, seconds: int) -> None:
    assert abs(time.time() - seconds - parse_when(text, "--since")) < 5


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T14:00",
        "2024-01-01 14:00:00",
        "2024-01-01T15:00+01:00",
        "2024-01-01T14:00Z",
        "~2024-01-01T14:00:00.000",
        "1704117600",
        "1704117600.0",
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str) -> None:
    assert parse_when(text, "--since") == 1_704_117_600


@pytest.mark.parametrize("text", ["", "5", "5x", "m", "yesterday", "2024-13-01", "-5m", "5m ago"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--since does not understand") as caught:
        parse_when(text, "--since")
    assert "2024-01-01T14:00" in (caught.value.hint or "")


def test_a_stamp_is_what_since_takes_again() -> None:
    assert stamp(1_704_117_600.1234) == "2024-01-01T14:00:00.123"
    assert parse_when(stamp(1_704_117_600.5), "--since") == 1_704_117_600.5
