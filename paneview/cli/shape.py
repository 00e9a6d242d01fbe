"""What all shapes have in common; see `shapes`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """What is common to all: no key that is not declared."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Success(Shape):
    """A command that did what it was asked."""

    ok: Literal[True]


class Problem(Shape):
    """A mistake in the configuration file."""

    file: str | None
    line: int | None
    column: int | None
    message: str
    hint: str | None


class Failure(BaseModel):
    """A command that failed, for whatever reason; the exit status tells which kind."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    ok: Literal[False]
    error: str
    """What is wrong, and where."""
    hint: str | None = None
    """What to do about it."""
    code: str | None = None
    """The kind of failure for programs: not_found, no_supervisor, config, usage, tmux, …"""
    problems: list[Problem] | None = None
    """With code config: each mistake in the file."""
    results: list[dict[str, Any]] | None = None
    """Per task, where some succeeded or the name is unknown (then with error_code E200)."""
