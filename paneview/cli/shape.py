"""What all shapes have in common; see `shapes`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

Yes = Annotated[bool, Meta(extra_json_schema={"const": True})]
No = Annotated[bool, Meta(extra_json_schema={"const": False})]


class Shape(Struct, forbid_unknown_fields=True):
    """What is common to all: no key that is not declared."""


class Success(Shape):
    """A command that did what it was asked."""

    ok: Yes


class Problem(Shape):
    """A mistake in the configuration file."""

    file: str | None
    line: int | None
    column: int | None
    message: str
    hint: str | None


class Failure(Struct):
    """A command that failed, for whatever reason; the exit status tells which kind."""

    ok: No
    error: str
    """What is wrong, and where."""
    hint: str | None = None
    """What to do about it."""
    code: str | None = None
    """The kind of failure for programs: not_found, no_supervisor, config, usage, tmux, …"""
    error_code: str | None = None
    """taskmux's code of an unknown name: E200."""
    problems: list[Problem] | None = None
    """With code config: each mistake in the file."""
    results: list[dict[str, Any]] | None = None
    """Per task, where some succeeded or the name is unknown (then with error_code E200)."""
