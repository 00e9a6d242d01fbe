"""Workflows as the rest of the program sees them: resolved, plain, and JSON both ways.

A workflow under way carries its `Plan` with it, so that an edit of the file changes no workflow that has begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

Json = Any
Approve = Literal["never", "always", "on_risk"]


def fields_in(cls: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that a JSON object has; other keys, which another version wrote, are left out."""
    names = {item.name for item in fields(cls)}
    return {key: value for key, value in raw.items() if key in names}


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """One phase as it was defined."""

    name: str
    role: str
    prompt: str = ""
    """The template of its prompt."""
    needs: tuple[str, ...] = ()
    output: Literal["text", "json"] = "text"
    schema: Json = None
    when: str = ""
    """An expression (`paneview.config.workflows.expression`); empty: always."""
    verify: str = ""
    """A shell command whose exit code decides."""
    verify_timeout: float = 600.0
    retries: int = 0
    approve: Approve = "never"
    timeout: float | None = None
    edits: bool = True
    """It may change files."""
    dangerous: bool = False
    """Its role may do anything."""
    hosts: tuple[str, ...] = ()
    """The hosts where its role may work; empty: all."""

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`, by way of JSON."""
        values = fields_in(cls, raw)
        return cls(**{**values, "needs": tuple(values["needs"]), "hosts": tuple(values.get("hosts", ()))})


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow's definition. Each phase comes after those it needs."""

    name: str
    phases: tuple[PhasePlan, ...]
    isolation: Literal["none", "worktree"] = "none"
    budget_usd: float | None = None
    budget_tokens: int | None = None
    timeout: float | None = None
    """Seconds for the whole workflow, not counting the time it waits for a person."""
    setup: str = ""
    copy: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    """Environment variables that get a free port each."""
    description: str = ""

    def to_json(self) -> dict[str, Json]:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`, by way of JSON."""
        values = fields_in(cls, raw)
        phases = tuple(PhasePlan.from_json(phase) for phase in raw["phases"])
        return cls(
            **{**values, "phases": phases, "copy": tuple(values["copy"]), "ports": tuple(values["ports"])}
        )
