"""The rows of the table and how they are printed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reference:
    """What the figure is compared with: another program, or the floor that the machine sets."""

    name: str
    value: float | None
    """In the row's unit; None: the program is not there, or could not do it."""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: float
    """The median of the runs."""
    unit: str
    worst: float | None = None
    """The 99th percentile or the worst run, see ``worst_is``."""
    worst_is: str = "worst"
    references: Sequence[Reference] = field(default=())
    """The ratio is taken to the first one that has a value."""
    reach: float | None = None
    worst_reach: float | None = None
    ratio_reach: float | None = None
    note: str = ""
    beside: str = ""
    """What else there is to say about the spread."""

    @property
    def ratio(self) -> float | None:
        """The figure divided by the first reference that has a value."""
        values = [reference.value for reference in self.references if reference.value]
        return self.figure / values[0] if values else None

    @property
    def reached(self) -> bool | None:
        """Whether every limit of the row is kept; None if it has none."""
        pairs = [
            (self.figure, self.reach),
            (self.worst, self.worst_reach),
            (self.ratio, self.ratio_reach),
        ]
        limits = [(value, limit) for value, limit in pairs if limit is not None]
        return all(value is not None and value <= limit for value, limit in limits) if limits else None


def measured(
    what: str,
    values: Sequence[float],
    unit: str,
    *,
    references: Sequence[Reference] = (),
    reach: float | None = None,
    worst_reach: float | None = None,
    ratio_reach: float | None = None,
    note: str = "",
    by_worst: bool = False,
) -> Row:
    """A row from raw values: their median, and the 99th percentile if they are 100 or more, else the worst.

    ``by_worst``: the limit is for the worst of them, however many there are.
    """
    many = len(values) >= 100 and not by_worst
    return Row(
        what,
        statistics.median(values),
        unit,
        worst=percentile(values, 0.99) if many else max(values),
        worst_is="p99" if many else "worst",
        references=references,
        reach=reach,
        worst_reach=worst_reach,
        ratio_reach=ratio_reach,
        note=note or f"{len(values)} runs",
        beside=f"p99 {number(percentile(values, 0.99))}"
        if by_worst
        else f"worst {number(max(values))}" * many,
    )


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def number(value: float | None) -> str:
    """Three significant digits, no exponent."""
    if value is None:
        return "absent"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


HEAD = ("what", "figure", "reference, same run", "reach", "ratio", "")


def cells(row: Row) -> tuple[str, ...]:
    """The row's six columns as text."""
    figure = f"{number(row.figure)} {row.unit}"
    if row.worst is not None:
        beside = f", {row.beside}" if row.beside else ""
        figure += f" ({row.worst_is} {number(row.worst)}{beside})"
    references = "; ".join(
        f"{r.name} {number(r.value)}" + (f" ({r.note})" if r.note else "") for r in row.references
    )
    reach = [number(limit) for limit in (row.reach, row.worst_reach) if limit is not None]
    ratio_reach = [f"{number(row.ratio_reach)} x"] if row.ratio_reach is not None else []
    ratio = f"{row.ratio:.2f} x" if row.ratio is not None else ""
    verdict = {True: "kept", False: "MISSED", None: ""}[row.reached]
    what = f"{row.what} [{row.note}]" if row.note else row.what
    reaches = ", ".join([" / ".join(reach)] * bool(reach) + ratio_reach)
    return (what, figure, references, reaches, ratio, verdict)


def markdown(rows: Iterable[Row]) -> str:
    """The whole table, in Markdown with aligned columns."""
    table = [HEAD, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    table.insert(1, tuple("-" * width for width in widths))
    padded = ([text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in table)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
