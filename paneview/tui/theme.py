"""Colours by role, never by place: ok, attention, failed, selected and dim, plus the surfaces they stand on.

Widgets draw with ready Rich styles (`Inks`), made once per theme from its variables, so any Textual theme works and
nothing looks a style up per line. Where a terminal has only sixteen colours, or the user has set NO_COLOR, the
terminal's own colours are used and what is selected is shown reversed; glyph and word say the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

DARK = Theme(
    name="paneview-dark",
    dark=True,
    primary="#7ab3ff",
    secondary="#c3a6ff",
    accent="#7ab3ff",
    success="#79d69b",
    warning="#f0c069",
    error="#ff7a85",
    foreground="#d4dae5",
    background="#11141b",
    surface="#191d27",
    panel="#232937",
    variables={
        "pv-dim": "#818b9e",
        "pv-rule": "#343c4d",
        "pv-select": "#26375a",
        "pv-select-blur": "#20283a",
    },
)
LIGHT = Theme(
    name="paneview-light",
    dark=False,
    primary="#0b5fc0",
    secondary="#7a3fc4",
    accent="#0b5fc0",
    success="#147a3c",
    warning="#8d5a00",
    error="#c21f38",
    foreground="#1e2430",
    background="#fcfcfd",
    surface="#eff1f5",
    panel="#e2e6ed",
    variables={
        "pv-dim": "#626c7e",
        "pv-rule": "#c3cad6",
        "pv-select": "#cfe1fa",
        "pv-select-blur": "#e4eaf3",
    },
)
ANSI = Theme(
    name="paneview-ansi",
    ansi=True,
    primary="ansi_blue",
    secondary="ansi_magenta",
    accent="ansi_cyan",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables=dict(BUILTIN_THEMES["ansi-dark"].variables),
)
# The sixteen ANSI colours of a task's output on these backgrounds.
DARK_TERMINAL = TerminalTheme(
    (17, 20, 27),
    (212, 218, 229),
    [
        (58, 66, 84),
        (255, 122, 133),
        (121, 214, 155),
        (240, 192, 105),
        (122, 179, 255),
        (195, 166, 255),
        (104, 209, 220),
        (200, 207, 220),
    ],
    [
        (129, 139, 158),
        (255, 156, 164),
        (158, 232, 184),
        (250, 214, 143),
        (160, 203, 255),
        (216, 195, 255),
        (146, 227, 235),
        (242, 245, 250),
    ],
)
LIGHT_TERMINAL = TerminalTheme(
    (252, 252, 253),
    (30, 36, 48),
    [
        (30, 36, 48),
        (194, 31, 56),
        (20, 122, 60),
        (141, 90, 0),
        (11, 95, 192),
        (122, 63, 196),
        (0, 116, 130),
        (98, 108, 126),
    ],
    [
        (98, 108, 126),
        (217, 58, 82),
        (30, 142, 74),
        (163, 108, 12),
        (38, 119, 214),
        (142, 85, 214),
        (12, 136, 150),
        (60, 68, 84),
    ],
)
THEMES = (DARK, LIGHT, ANSI)


def choose(environ: Mapping[str, str] = os.environ) -> str:
    """The theme by the environment: ``PANEVIEW_THEME``, else one that fits the terminal."""
    if wanted := environ.get("PANEVIEW_THEME"):
        return wanted if "-" in wanted else f"paneview-{wanted}"
    few = environ.get("TERM") in ("linux", "vt100", "xterm", "screen", "ansi", "dumb")
    if "NO_COLOR" in environ or (few and environ.get("COLORTERM") not in ("truecolor", "24bit")):
        return ANSI.name
    # COLORFGBG is "foreground;background" as palette numbers; 7 and 15 are the light backgrounds.
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "15") else DARK.name


class Inks(NamedTuple):
    """Styles by role. ``base`` and ``bar`` carry a background; a role is added to one of them."""

    base: Style
    bar: Style
    ok: Style
    attention: Style
    failed: Style
    accent: Style
    dim: Style
    rule: Style
    title: Style
    select: Style
    select_blur: Style
    match: Style
    match_now: Style
    mark: Style

    def role(self, name: str) -> Style:
        """The style of a role by its name in `words`."""
        return getattr(self, name, self.base)


def inks(theme: Theme, variables: Mapping[str, str]) -> Inks:
    """The styles of a theme."""
    return _ansi_inks() if theme.ansi else _true_inks(variables)


def _ansi_inks() -> Inks:
    return Inks(
        base=Style(color="default", bgcolor="default"),
        bar=Style(color="default", bgcolor="default"),
        ok=Style(color="green"),
        attention=Style(color="yellow"),
        failed=Style(color="red", bold=True),
        accent=Style(color="cyan", bold=True),
        dim=Style(dim=True),
        rule=Style(dim=True),
        title=Style(bold=True),
        select=Style(reverse=True, bold=True),
        select_blur=Style(bold=True, underline=True),
        match=Style(reverse=True),
        match_now=Style(reverse=True, bold=True, underline=True),
        mark=Style(color="magenta", bold=True),
    )


def _true_inks(variables: Mapping[str, str]) -> Inks:
    def ink(name: str, **extra: bool) -> Style:
        return Style(color=Color.parse(variables[name]).rich_color, **extra)  # type: ignore[arg-type]

    background = Color.parse(variables["background"])
    foreground = Color.parse(variables["foreground"])
    accent = Color.parse(variables["accent"])

    def shade(name: str, other: Color, part: float) -> Color:
        return Color.parse(variables[name]) if name in variables else background.blend(other, part)

    def on(color: Color) -> Style:
        return Style(bgcolor=color.rich_color)

    warning = Color.parse(variables["warning"])
    return Inks(
        base=ink("foreground") + on(background),
        bar=ink("foreground") + on(Color.parse(variables["surface"])),
        ok=ink("success"),
        attention=ink("warning"),
        failed=ink("error", bold=True),
        accent=ink("accent", bold=True),
        dim=Style(color=shade("pv-dim", foreground, 0.55).rich_color),
        rule=Style(color=shade("pv-rule", foreground, 0.2).rich_color),
        title=ink("foreground", bold=True),
        select=on(shade("pv-select", accent, 0.25)) + Style(bold=True),
        select_blur=on(shade("pv-select-blur", accent, 0.12)),
        match=Style(color=background.rich_color, bgcolor=background.blend(warning, 0.75).rich_color),
        match_now=Style(color=background.rich_color, bgcolor=warning.rich_color, bold=True, underline=True),
        mark=ink("secondary", bold=True),
    )
