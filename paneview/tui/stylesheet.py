"""The style sheet, parsed once, and the colours in it, mixed once.

Textual's app has its style sheet parsed three times before the first frame is drawn: when the app gets its first
screen, again as that screen does not know the theme yet, and once more when the theme reports that it was set. Each
time takes some ten milliseconds and has the same outcome (Textual 8.2). And each time it asks for the theme's
variables, which are two hundred colours: another millisecond or two.
"""

from __future__ import annotations

from textual.app import App
from textual.css.stylesheet import Stylesheet
from textual.theme import Theme


class ParsedOnce(Stylesheet):
    """A style sheet that parses again only what is new, or all of it after its variables have changed."""

    def set_variables(self, variables: dict[str, str]) -> None:
        """Set the variables; what was parsed with the same ones stays valid."""
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        """Parse what is not parsed yet. Raises StylesheetError and StylesheetParseError; the old rules stay then."""
        self.parse()


class MixedOnce(App[int]):
    """An app that finds a theme's variables when it first needs them, and again only for another theme."""

    _mixed: tuple[Theme, dict[str, str]] | None = None

    def get_css_variables(self) -> dict[str, str]:
        """The variables of the style sheet, by their names."""
        theme = self.current_theme
        if self._mixed is None or self._mixed[0] is not theme:
            self._mixed = theme, super().get_css_variables()
        return dict(self._mixed[1])
