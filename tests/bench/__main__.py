"""``python -m tests.bench [NAME…] [--quick] [--peers FOLDER]``: measure, then print the table."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.bench.settings import Settings
from tests.bench.table import Reference, Row, markdown

HERE = Path(__file__).parent


def main() -> int:
    """Measure what was asked for; exit status 1 if a figure misses its reach."""
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to try the harness itself")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="measure peers, installed below FOLDER")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(names):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))} (there are {', '.join(names)})")
    settings = Settings(quick=chosen.quick, folder=chosen.peers)
    rows = list(measure(chosen.names or names, settings))
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}\n"
    )
    print(markdown(rows))
    return any(row.reached is False for row in rows)


def measure(names: Iterable[str], settings: Settings) -> Iterator[Row]:
    """The rows of each named module, reported on standard error as they come."""
    for name in names:
        module = importlib.import_module(f"tests.bench.bench_{name}")
        for found in module.rows(settings):
            row = as_row(found)
            print(f"{name}: {row.what}: {row.figure:.4g} {row.unit}", file=sys.stderr, flush=True)
            yield row


def as_row(found: Row | tuple[object, ...]) -> Row:
    """A `Row`, which may be given as a plain tuple ``(what, figure, unit, reference)``."""
    if isinstance(found, Row):
        return found
    what, figure, unit, reference = found
    known = isinstance(reference, (int, float))
    return Row(
        str(what),
        float(figure),  # type: ignore[arg-type]
        str(unit),
        references=[Reference("reference", float(reference))] if known else [],  # type: ignore[arg-type]
        note="" if known or not reference else str(reference),
    )


if __name__ == "__main__":
    sys.exit(main())
