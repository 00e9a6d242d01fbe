"""Writing a configuration and reading what was wrong with it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from paneview.config.errors import ConfigError, Problem
from paneview.config.load import load_project
from paneview.config.models import Project


def write(folder: Path, text: str, name: str = "paneview.toml") -> Path:
    path = folder / name
    path.write_text(dedent(text))
    return path


def load(folder: Path, text: str, environ: dict[str, str] | None = None, **options: object) -> Project:
    return load_project(write(folder, text), environ or {}, **options)  # type: ignore[arg-type]


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return caught.value.problems


def lines(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """Each problem as "line:column: message (hint)"."""
    path = str(folder / "paneview.toml")
    return [str(problem).removeprefix(path + ":") for problem in problems(folder, text, environ)]
