"""Files of ``NAME=value`` lines (``.env``): `export`, quotes, comments and values over several lines, by
python-dotenv's parser. Its loader is not used: it only logs and skips what it can't read, and here that is an
error with its place.

``${VAR}`` is replaced by the rules of `interpolate`, from the lines above it and from the environment; not in
single quotes, as in a shell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from paneview.config.errors import ConfigError, Problem
from paneview.config.interpolate import InterpolationError, interpolate
from paneview.config.reading import read_text

_SINGLE_QUOTED = re.compile(r"\s*(?:export\s+)?[^=]*=\s*'")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_env_file(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of the file, in its order. Raises ConfigError with every line that is wrong, OSError."""
    try:
        text = read_text(path, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(str(path), None, None, "is not UTF-8 text")) from error
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for binding, line in _bindings(text):
        try:
            values.update(_assignment(binding, {**environ, **values}))
        except InterpolationError as error:
            problems.append(Problem(str(path), line, 1, str(error), error.hint))
        except ValueError as error:
            problems.append(Problem(str(path), line, 1, str(error)))
    if problems:
        raise ConfigError(*problems)
    return values


def _bindings(text: str) -> Iterator[tuple[Binding, int]]:
    """Each assignment with its line; the parser counts the blank lines before it as part of it."""
    for binding in parse_stream(StringIO(text)):
        source = binding.original.string
        blank = source[: len(source) - len(source.lstrip())]
        yield binding, binding.original.line + blank.count("\n")


def _assignment(binding: Binding, values: Mapping[str, str]) -> dict[str, str]:
    if binding.error:
        # The line itself is not shown: it may hold a secret.
        raise ValueError("this line is not NAME=value; is a quote not closed?")
    if binding.key is None:
        return {}
    if not _NAME.fullmatch(binding.key):
        raise ValueError(f"{binding.key!r} is not a name for an environment variable")
    if binding.value is None:
        raise ValueError(f"{binding.key} has no value: write {binding.key}=")
    if "\0" in binding.value:  # no process can be started with it
        raise ValueError(f"{binding.key} holds a NUL character")
    if _SINGLE_QUOTED.match(binding.original.string):
        return {binding.key: binding.value}
    return {binding.key: interpolate(binding.value, values)}
