"""Pure arithmetic on chunks: where to cut, and the times of the lines inside one.

A chunk's times are steps, (line, milliseconds): lines from that one up to the next step came that much
after the chunk's first. Each read of the spool is one step, so a flood costs a few bytes a chunk and a
slow task three bytes a line. Steps are stored as differences in a variable-length code.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

CHUNK = 64 * 1024  # bytes in a body, at most

Step = tuple[int, int]


def cut(data: bytes) -> Iterator[bytes]:
    """Pieces of at most `CHUNK` bytes, cut at newlines, and inside a line only if it is longer than that."""
    start = 0
    while len(data) - start > CHUNK:
        end = _chunk_end(data, start)
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:] if start else data


def full_chunks(data: bytes) -> int:
    """How many of the bytes `cut` would put into full chunks; the last piece, of any size, is not counted."""
    start = 0
    while len(data) - start > CHUNK:
        start = _chunk_end(data, start)
    return start


def _chunk_end(data: bytes, start: int) -> int:
    return data.rfind(b"\n", start, start + CHUNK) + 1 or start + CHUNK


def pack_times(steps: Sequence[Step]) -> bytes | None:
    """Encode the steps; None if there is only one time."""
    if len(steps) < 2:
        return None
    out = bytearray()
    last_line, last_ms = steps[0]
    for line, ms in steps[1:]:
        _put(out, line - last_line)
        _put(out, (ms - last_ms) * 2 if ms >= last_ms else (last_ms - ms) * 2 - 1)  # a clock may step back
        last_line, last_ms = line, ms
    return bytes(out)


def unpack_times(packed: bytes | None) -> list[Step]:
    """Decode what `pack_times` returned; the first step is always line 0."""
    steps = [(0, 0)]
    if not packed:
        return steps
    line = ms = value = shift = 0
    wanted = "line"
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            continue
        if wanted == "line":
            line += value
            wanted = "ms"
        else:
            ms += -(value + 1) // 2 if value & 1 else value // 2
            steps.append((line, ms))
            wanted = "line"
        value = shift = 0
    return steps


class Times:
    """When each line of one chunk came. Times are epoch seconds."""

    def __init__(
        self, first_ts: float, last_ts: float, lines: int, *, approx: bool, packed: bytes | None
    ) -> None:
        self.approx = approx
        self._first = first_ts
        self._span = last_ts - first_ts
        self._lines = max(lines, 1)
        self._steps = unpack_times(packed)
        self._starts = [line for line, _ in self._steps]

    @property
    def fixed(self) -> bool:
        """Whether all lines came at the same time."""
        return len(self._steps) == 1 and not (self.approx and self._span)

    def of(self, index: int) -> float:
        """The time of the chunk's line at this index, interpolated if only the bounds are known."""
        if self.approx:
            return self._first + self._span * min(index / self._lines, 1.0)
        if len(self._steps) == 1:
            return self._first
        return self._first + self._steps[bisect_right(self._starts, index) - 1][1] / 1000


def _put(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
