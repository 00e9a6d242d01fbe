from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from paneview.rules.pacing import WORK, Pace, turn


@given(st.integers(1, 64), st.lists(st.floats(0, 5), max_size=60))
@example(2, [0.0, 0.0, 0.0])
def test_after_a_first_one_for_each_core_starts_are_as_far_apart_as_the_cores_need_for_them(
    cores: int, pauses: list[float]
) -> None:
    pace, now, begins = Pace(cores), 1000.0, []
    for pause in pauses:
        now += pause
        pace, at = turn(pace, now)
        assert at >= now
        begins.append(at)
    assert begins == sorted(begins)  # first come, first served
    for index, first in enumerate(begins):
        for number, last in enumerate(begins[index + cores :], 1):
            assert last - first >= number * WORK / cores - 1e-6


@given(st.integers(1, 64))
def test_as_many_as_there_are_cores_begin_at_once_and_nobody_waits_when_it_is_quiet(cores: int) -> None:
    pace, now = Pace(cores), 1000.0
    for _ in range(cores):
        pace, at = turn(pace, now)
        assert abs(at - now) < 1e-6
    pace, at = turn(pace, now + WORK)
    assert abs(at - now - WORK) < 1e-6
