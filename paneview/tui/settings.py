"""The user's settings of the screen: theme, own themes and keys, from a file.

``$XDG_CONFIG_HOME/paneview/tui.toml`` (else ``~/.config/…``)::

    theme = "mine"              # or dark, light, ansi, or any theme of Textual's

    [themes.mine]
    base = "dark"               # what is not set comes from here
    failed = "#ff5f5f"          # ok, attention, failed, accent, dim, background, foreground, surface, select

    [keys]
    "task.stop" = "X"           # the names are those that `:keys` lists
    "task.kill" = ["ctrl+k", "K"]

Every mistake in it is reported by name and skipped: it never keeps the screen from starting.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textual.theme import Theme

from paneview.tui import theme as themes

_BASES = {"dark": themes.DARK, "light": themes.LIGHT}
# The roles of the five colours and of the surfaces, with Textual's names for them.
_FIELDS = {
    "ok": "success",
    "attention": "warning",
    "failed": "error",
    "accent": "accent",
    "mark": "secondary",
    "foreground": "foreground",
    "background": "background",
    "surface": "surface",
    "panel": "panel",
}
_VARIABLES = {"dim": "pv-dim", "rule": "pv-rule", "select": "pv-select", "select_blur": "pv-select-blur"}
_LARGEST = 1 << 20  # bytes
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}){1,2}")


@dataclass(slots=True)
class Settings:
    """What the file says; ``problems`` says what is wrong in it."""

    theme: str | None = None
    themes: list[Theme] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def settings_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the settings."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(
        environ.get("HOME") or os.path.expanduser("~"), ".config"
    )
    return Path(base) / "paneview" / "tui.toml"


def load_settings(file: Path) -> Settings:
    """Read the file; a missing one gives the defaults. Raises nothing: errors become ``problems``."""
    found = Settings()
    try:
        data = tomllib.loads(_read(file).replace("\r\n", "\n"))
    except FileNotFoundError:
        return found
    except OSError as error:
        found.problems.append(f"{file} cannot be read: {error.strerror}")
        return found
    except (ValueError, RecursionError) as error:
        found.problems.append(f"{file}: {error}")
        return found
    takes = {"theme": _take_theme, "themes": _take_themes, "keys": _take_keys}
    for name, value in data.items():
        if name in takes:
            takes[name](found, value)
        else:
            found.problems.append(f"{name}: unknown{_nearest(name, takes)}")
    found.problems = [f"{file.name}: {problem}" for problem in found.problems]
    return found


def _read(file: Path) -> str:
    """The file's text, read without blocking. Raises OSError, also for a FIFO or device, and ValueError."""
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as content:
        if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
            raise OSError(0, "it is not a regular file")
        return content.read(_LARGEST).decode()


def choose_theme(found: Settings, available: Collection[str], environ: Mapping[str, str] = os.environ) -> str:
    """The theme, one of ``available``: the environment's, else the file's, else what fits the terminal."""
    if found.theme is not None and "PANEVIEW_THEME" not in environ and "NO_COLOR" not in environ:
        for name in (found.theme, f"paneview-{found.theme}"):
            if name in available:
                return name
        found.problems.append(f"tui.toml: theme: there is no {found.theme!r}")
    chosen = themes.choose(environ)
    return chosen if chosen in available else themes.DARK.name


def check_keys(settings: Settings, known: Collection[str]) -> None:
    """Drop keys for actions that do not exist, and report them."""
    for name in [name for name in settings.keys if name not in known]:
        del settings.keys[name]
        settings.problems.append(f"tui.toml: keys: there is no action {name!r}{_nearest(name, known)}")


def _take_theme(found: Settings, value: Any) -> None:
    if isinstance(value, str):
        found.theme = value
    else:
        found.problems.append("theme: must be the name of one")


def _take_themes(found: Settings, value: Any) -> None:
    if not isinstance(value, dict):
        found.problems.append("themes: must be tables, as in [themes.mine]")
        return
    for name, table in value.items():
        if isinstance(table, dict):
            found.themes.append(_theme(name, table, found.problems))
        else:
            found.problems.append(f"themes.{name}: must be a table")


def _theme(name: str, table: Mapping[str, Any], problems: list[str]) -> Theme:
    base = table.get("base", "dark")
    if base not in _BASES:
        problems.append(f"themes.{name}.base: dark or light")
        base = "dark"
    made = replace(_BASES[base], name=name, variables=dict(_BASES[base].variables))
    for role, colour in table.items():
        if role == "base":
            continue
        if role not in _FIELDS and role not in _VARIABLES:
            problems.append(f"themes.{name}.{role}: unknown{_nearest(role, [*_FIELDS, *_VARIABLES])}")
        elif not isinstance(colour, str) or not _COLOUR.fullmatch(colour):
            problems.append(f"themes.{name}.{role}: a colour is written as #rrggbb")
        elif role in _VARIABLES:
            made.variables[_VARIABLES[role]] = colour
        else:
            setattr(made, _FIELDS[role], colour)
            if role == "accent":
                made.primary = colour
    return made


def _take_keys(found: Settings, value: Any) -> None:
    if not isinstance(value, dict):
        found.problems.append('keys: must be a table, as in [keys] "task.stop" = "X"')
        return
    for name, keys in _flat(value):
        wanted = [keys] if isinstance(keys, str) else keys
        if (
            isinstance(wanted, list)
            and wanted
            and all(isinstance(key, str) and key.strip() for key in wanted)
        ):
            found.keys[name] = ",".join("comma" if key == "," else key for key in wanted)
        else:
            found.problems.append(f"keys.{name}: must be a key or a list of them")


def _flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Flatten the table: ``task.stop = "X"`` without quotes is a table in a table, but means the same."""
    found = []
    for name, value in table.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(before + name, value)]
    return found


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f", did you mean {close[0]}?" if close else ""
