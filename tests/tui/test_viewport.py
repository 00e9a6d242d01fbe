"""Moving a window over a log: the arithmetic agrees with a plain list of all rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paneview.tui.logs.viewport import Hits, Pos, Source, Whole, down, last_page, up

logs = st.tuples(st.integers(0, 50), st.lists(st.integers(1, 4), min_size=1, max_size=30), st.booleans())


def build(log: tuple[int, list[int], bool]) -> tuple[Source, dict[int, int], list[Pos]]:
    first, heights, gaps = log
    step = 3 if gaps else 1
    tall = {first + step * at: height for at, height in enumerate(heights)}
    source: Source = Hits(list(tall)) if gaps else Whole(first, first + len(heights))
    return source, tall, [Pos(line, row) for line, height in tall.items() for row in range(height)]


@given(logs, st.integers(0, 200), st.integers(0, 60))
def test_down_and_up(log: tuple[int, list[int], bool], start: int, by: int) -> None:
    source, tall, rows = build(log)
    at = start % len(rows)
    assert down(rows[at], by, source, tall.__getitem__) == rows[min(at + by, len(rows) - 1)]
    assert up(rows[at], by, source, tall.__getitem__) == rows[max(at - by, 0)]


@given(logs, st.integers(1, 40))
def test_the_last_page_ends_with_the_last_row(log: tuple[int, list[int], bool], height: int) -> None:
    source, tall, rows = build(log)
    assert last_page(height, source, tall.__getitem__) == rows[max(0, len(rows) - height)]


@given(logs, st.floats(0, 1))
def test_a_part_of_the_way_is_a_line_that_exists(log: tuple[int, list[int], bool], part: float) -> None:
    source, tall, _ = build(log)
    assert source.at(part) in tall
    assert source.size() == len(tall)
    assert 0 <= source.part(source.at(part)) <= 1


def test_an_empty_log() -> None:
    assert last_page(10, Whole(5, 5), lambda _: 1) == Pos(5)
    assert Hits().at(0.5) == 0
    assert Hits().after(3) is None
