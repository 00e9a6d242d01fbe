"""What is wrong with a configuration, for people and for editors that jump to ``file:line:column``.

All mistakes of a file are reported at once, so the error holds a list. Plain classes, because the command
line imports this module before it knows what was asked, and ``dataclasses`` alone would double its start-up
time.
"""

from __future__ import annotations


class Problem:
    """One mistake: where it is (lines and columns count from 1), what it is, and what may help."""

    __slots__ = ("column", "file", "hint", "line", "message")

    def __init__(
        self,
        file: str | None,
        line: int | None,
        column: int | None,
        message: str,
        hint: str | None = None,
    ) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.hint})" if self.hint else text

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"

    def as_json(self) -> dict[str, object]:
        """The problem as ``check --json`` prints it."""
        return {name: getattr(self, name) for name in ("file", "line", "column", "message", "hint")}


class ConfigError(Exception):
    """The configuration can't be used; ``problems`` holds every reason, in the order of the file."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems: tuple[Problem, ...] = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
