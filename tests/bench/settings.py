"""The settings of one run of the measurements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.bench.peers import Figures, measure_all, references
from tests.bench.table import Reference


@dataclass(frozen=True)
class Settings:
    """Given to every ``rows``."""

    quick: bool = False
    """Few repetitions and small amounts: to see that everything works, not to quote."""
    folder: Path | None = None
    """Where peers are installed; None: they are not measured."""

    @cached_property
    def peers(self) -> dict[str, Figures]:
        """The task managers' figures, measured when first asked for."""
        return measure_all(self.folder) if self.folder else {}

    def runs(self, number: int) -> int:
        """How often to repeat what a full run repeats ``number`` times."""
        return max(3, number // 10) if self.quick else number

    def peer(self, figure: str) -> list[Reference]:
        """One figure of every peer."""
        return references(self.peers, figure)
