"""What is to be done for a workflow: each may be done again without harm, and is due while the state says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the working place."""


@dataclass(frozen=True, slots=True)
class Run:
    """Submit this run's job unless that is done already, and wait for its end."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Verify:
    """Run the phase's verify command."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Cancel this run's job."""

    phase: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Close:
    """Commit or save the work, and remove the working place."""


Effect = Prepare | Run | Verify | Withdraw | Close
