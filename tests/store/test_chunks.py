"""Cutting bytes into chunks, and the times kept beside them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paneview.store.chunks import CHUNK, Times, cut, pack_times, unpack_times


@given(st.lists(st.tuples(st.integers(0, 3 * CHUNK), st.booleans()), max_size=6))
def test_cut_loses_nothing_and_keeps_lines_whole(parts: list[tuple[int, bool]]) -> None:
    data = b"".join(b"x" * size + (b"\n" if newline else b"") for size, newline in parts)
    pieces = list(cut(data))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= CHUNK for piece in pieces)
    for piece in pieces[:-1]:
        assert piece.endswith(b"\n") or (len(piece) == CHUNK and b"\n" not in piece)


def test_short_lines_fill_a_chunk() -> None:
    sizes = [len(piece) for piece in cut(b"a line\n" * 100_000)]
    assert min(sizes[:-1]) > CHUNK - 7


STEPS = st.lists(st.tuples(st.integers(1, 300), st.integers(-5_000, 100_000)), max_size=40)


@given(STEPS)
def test_times_come_back_to_the_millisecond(differences: list[tuple[int, int]]) -> None:
    steps = [(0, 0)]
    for line, ms in differences:
        steps.append((steps[-1][0] + line, steps[-1][1] + ms))
    packed = pack_times(steps)
    assert unpack_times(packed) == steps
    times = Times(1000.0, 2000.0, steps[-1][0], approx=False, packed=packed)
    for line, ms in steps:
        assert abs(times.of(line) - (1000.0 + ms / 1000)) < 1e-6
    assert times.of(steps[-1][0] + 1000) == times.of(steps[-1][0])


def test_bracketed_times_are_in_proportion() -> None:
    times = Times(100.0, 200.0, 10, approx=True, packed=None)
    assert [times.of(line) for line in (0, 5, 10, 99)] == [100.0, 150.0, 200.0, 200.0]
